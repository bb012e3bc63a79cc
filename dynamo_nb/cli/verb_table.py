"""The table of verbs. Each verb is a function that registers itself with `@verb`, together with its examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

if TYPE_CHECKING:
    from dynamo_nb.cli.host import VerbHost

Function = TypeVar("Function", bound=Callable[..., Any])

app = typer.Typer(
    name="dynamo",
    help="Serve, inspect and export inference graphs. TARGET is module:Service, path/file.py:Service, "
    "notebook.ipynb:Service or a bundle folder. Set configuration values with --Service.key=value.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@dataclass(frozen=True)
class Example:
    """A line that a user can copy.

    Attributes:
        line: The command line without `dynamo`. `{target}` stands for a service that can be served.
        comment: Purpose of the line.
    """

    line: str
    comment: str


@dataclass(frozen=True)
class Invocation:
    """One command line that is being run. Every verb finds it in its context.

    Attributes:
        host: The program that runs the verb.
        config_words: The words that set configuration values, such as `--Backend.suffix=!`.
    """

    host: VerbHost
    config_words: Sequence[str]


EXAMPLES: Final[dict[str, Sequence[Example]]] = {}
"""Verb name to its examples."""


def verb(*examples: tuple[str, str], name: str = "") -> Callable[[Function], Function]:
    """Decorates a function as a verb. Its docstring is the help text, its parameters are the options.

    Args:
        examples: Pairs of a command line and a comment; see `Example`.
        name: The name of the verb; the function's name by default.

    Returns:
        The decorator. The function itself stays as it is.
    """

    def register(function: Function) -> Function:
        EXAMPLES[name or function.__name__] = [Example(line, comment) for line, comment in examples]
        return app.command(name or None)(function)

    return register


def _show_version(context: typer.Context, wanted: bool) -> None:
    if wanted:
        host_of(context).show(f"dynamo_nb {version('dynamo_nb')}")
        raise typer.Exit


@app.callback()
def _root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="show the version")
    ] = False,
) -> None: ...


def commands() -> dict[str, Any]:
    """Returns verb name to click command, in the order of `dynamo --help`."""
    group: Any = typer.main.get_command(app)
    return group.commands  # type: ignore[no-any-return]


def invocation(context: typer.Context) -> Invocation:
    """Returns the command line that a verb runs for."""
    return context.find_root().obj  # type: ignore[no-any-return]


def host_of(context: typer.Context) -> VerbHost:
    """Returns the program that runs a verb."""
    return invocation(context).host
