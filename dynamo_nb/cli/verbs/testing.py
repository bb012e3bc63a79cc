"""The verb that runs notebooks as tests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dynamo_nb.cli.verb_table import host_of, verb


@verb(
    ("test notebooks/", "every notebook of a folder"),
    ("test hello.ipynb -p size=3 -j 2", "with a parameter; two notebooks at a time"),
    ("test hello.ipynb --matrix sizes.yaml --update create,fix", "each combination; write new and changed baselines"),
    name="test",
)
def run_notebooks(
    context: typer.Context,
    paths: Annotated[list[Path] | None, typer.Argument(help="notebooks and folders (default: this folder)")] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", "--parameter", help="name=value of a parameter, read as YAML")
    ] = None,
    matrix: Annotated[
        Path | None, typer.Option(help="YAML file with several values of parameters, such as `size: [1, 2]`")
    ] = None,
    jobs: Annotated[int, typer.Option("-j", "--jobs", help="number of notebooks that run at the same time")] = 1,
    update: Annotated[
        str, typer.Option(help="baselines to write: create, fix, update, trim, separated by commas")
    ] = "",
    report: Annotated[Path, typer.Option(help="folder for the executed notebooks")] = Path("build/notebooks"),
    cell_timeout: Annotated[float, typer.Option(help="seconds for a cell; 0 for no limit")] = 600,
    timeout: Annotated[float, typer.Option(help="seconds for a notebook; 0 for no limit")] = 3600,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="after a failed cell, run the cells that do not need it")
    ] = False,
    kernel: Annotated[str, typer.Option(help="name of the kernel (default: the kernel in the notebook)")] = "",
) -> Any:
    """Run notebooks as tests, each in its own process, folder and state directory."""
    from dynamo_nb.errors import DynamoError
    from dynamo_nb.regress.case import find_cases, read_matrix, read_parameters
    from dynamo_nb.regress.result import ExitCode
    from dynamo_nb.regress.run_shown import run_shown
    from dynamo_nb.regress.runner import TestOptions

    host = host_of(context)
    try:
        categories: Any = [word.strip() for word in update.split(",") if word.strip()]
        options = TestOptions(jobs, categories, cell_timeout or None, timeout or None, keep_going, kernel, report)
        values = read_matrix(matrix) if matrix is not None else {}
        cases = find_cases(paths or [Path()], read_parameters(parameter or ()), values)
    except DynamoError as error:
        if not host.is_terminal:
            raise
        host.show(error)
        raise SystemExit(ExitCode.USAGE_ERROR) from None
    result = run_shown(cases, options, host.show, host.display())
    if host.is_terminal:
        host.show(result.line)
        if result.exit_code:
            raise SystemExit(result.exit_code)
        return None
    return host.result(result)
