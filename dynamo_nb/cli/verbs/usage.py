"""The verb `help`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dynamo_nb.cli.verb_table import host_of, verb
from dynamo_nb.errors import DynamoError, suggestion


@verb(("help serve", "the same as `serve --help`"), name="help")
def help_of(
    context: typer.Context, verb: Annotated[str | None, typer.Argument(help="the verb, such as serve")] = None
) -> None:
    """Show what a verb does, its options and examples."""
    root = context.find_root()
    host = host_of(context)
    if verb is None:
        host.show(root.get_help())
        return
    group: Any = root.command
    command = group.commands.get(verb)
    if command is None:
        raise DynamoError(f"dynamo has no verb {verb!r}", remedy=suggestion(verb, group.commands))
    host.show(command.get_help(typer.Context(command, info_name=verb, parent=root)))
