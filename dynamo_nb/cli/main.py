"""The `dynamo` command: runs one command line, at a shell or in a notebook."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

import dynamo_nb.cli.verbs  # noqa: F401  (registers the verbs)
from dynamo_nb.cli.help import add_examples
from dynamo_nb.cli.shell_completion import QUESTION, answer
from dynamo_nb.cli.terminal_host import TerminalHost
from dynamo_nb.cli.verb_table import Invocation, app
from dynamo_nb.cli.verbs.measurement import with_one_target
from dynamo_nb.config.command_words import split_words
from dynamo_nb.errors import DynamoError, suggestion

if TYPE_CHECKING:
    from dynamo_nb.cli.host import VerbHost

# Newer versions of typer bring their own click, older ones use the package: this is the class of either.
_UsageError: Any = typer.BadParameter.__bases__[0]
_INTERRUPTED = 130
"""Exit status after Ctrl-C, by the convention of shells."""


def run(argv: Sequence[str], host: VerbHost) -> Any:
    """Runs one command line.

    Args:
        argv: The words after `dynamo`.
        host: The program that runs it.

    Returns:
        What the verb returns: in a notebook the value for the cell's output, in a terminal None.

    Raises:
        DynamoError: The command line is invalid, or the verb failed.
        KeyboardInterrupt: The verb was interrupted.
    """
    words, config_words = split_words(argv)
    if words[:1] in (["bench"], ["trace"]):
        words = with_one_target(words)
    group: Any = typer.main.get_command(app)
    add_examples(group.commands, host.prefix, host.example_target)
    if words and not words[0].startswith("-") and words[0] not in group.commands:
        raise DynamoError(f"dynamo has no verb {words[0]!r}", remedy=suggestion(words[0], group.commands))
    call = Invocation(host, config_words)
    try:
        result = group.main(args=words or ["--help"], prog_name=host.prefix, standalone_mode=False, obj=call)
    except _UsageError as error:
        context = getattr(error, "ctx", None)
        usage = context.get_usage() if context is not None else "dynamo --help"
        raise DynamoError(error.format_message(), remedy=usage) from None
    except typer.Abort:
        result = _INTERRUPTED
    if result == _INTERRUPTED:  # click turns KeyboardInterrupt into this status
        raise KeyboardInterrupt
    if isinstance(result, int):  # an exit status from typer itself, as for `--help`
        if result:
            raise DynamoError(f"dynamo ended with status {result}", remedy="see the output above")
        return None
    return result


def main() -> None:
    """Runs the command line of this process. The entry point of the `dynamo` command."""
    if (question := os.environ.get(QUESTION)) and (found := answer(question, os.environ)) is not None:
        print(found)
        return
    try:
        run(sys.argv[1:], TerminalHost())
    except DynamoError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
