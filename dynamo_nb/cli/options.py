"""Arguments and options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Target = Annotated[
    str, typer.Argument(help="module:Service, file.py:Service, notebook.ipynb:Service or a bundle folder")
]
Files = Annotated[
    list[str] | None,
    typer.Option("-f", "--file", help="YAML configuration file; repeatable, later files override earlier ones"),
]
WorkingDir = Annotated[Path | None, typer.Option("--working-dir", help="folder in which the target is looked up")]
Name = Annotated[str, typer.Option("--name", help="name of the deployment (default: the name of the target)")]
Namespace = Annotated[str | None, typer.Option("--namespace", help="run the whole graph in this namespace")]
DeploymentArgument = Annotated[
    str | None, typer.Argument(help="id of the deployment, its beginning, or its name; needed if several are running")
]
DeploymentOption = Annotated[
    str | None,
    typer.Option(
        "-d", "--deployment", help="id of the deployment, its beginning, or its name; needed if several are running"
    ),
]
