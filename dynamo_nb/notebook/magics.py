"""The magics: `%dynamo VERB …`, `%%dynamo_service`, `%%dynamo_config`."""

from __future__ import annotations

from typing import Any

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand

from dynamo_nb.errors import TargetError
from dynamo_nb.notebook.session import Session
from dynamo_nb.source.first_line import SERVICE, service_line
from dynamo_nb.source.headers import CONFIG, config_layer, flags_of


@magics_class
class DynamoMagics(Magics):  # type: ignore[misc]
    """The magics of one shell."""

    def __init__(self, shell: Any, session: Session) -> None:
        super().__init__(shell)
        self.session = session

    @no_var_expand
    @line_magic
    def dynamo(self, line: str) -> Any:
        """`%dynamo VERB …` is the command `dynamo VERB …`, with this notebook's services as targets.

        %dynamo graph Frontend              draw the graph; it follows as cells run
        %dynamo config Frontend             the effective configuration, with the origin of each value
        %dynamo serve Frontend -f c.yaml    serve it (or: deployment = await serve(Frontend, "c.yaml"))
        %dynamo trace Frontend.generate --payload '{"text": "hello"}'
        %dynamo bench frontend.generate --concurrency 64 --payload '{"text": "hello"}'   --background: go on meanwhile
        %dynamo ps / logs Backend / scale Backend=4 / export bundle/ / stop
        %dynamo attach                      take up what a kernel before this one left running (serve … --detach)
        """
        import shlex

        from dynamo_nb.cli.main import run
        from dynamo_nb.notebook.verb_host import NotebookHost

        try:
            words = shlex.split(line)
        except ValueError as error:
            raise TargetError(f"%dynamo: {error}", remedy="close the quotation") from None
        return run(words, NotebookHost(self.session))

    @cell_magic
    def dynamo_service(self, line: str, cell: str) -> None:
        """Defines the services of this cell, and checks at once that a worker could import them.

        %%dynamo_service [--workers N] [--gpu N] [--cpu N] [--memory N] [--namespace NAME]

        The rest is an ordinary cell: its classes are decorated with @service. With `#| dynamo_service` for its first
        line the cell does the same and is Python for every editor. An ordinary cell without such a line is checked
        when it is served; the flags stand over the decorator and under YAML.
        """
        # Cells reach this only through `run_cell_magic`; typed ones are handled by `plain_first_line`.
        self.shell.run_cell(f"{SERVICE} {line}\n{cell}").raise_error()

    @no_var_expand
    @cell_magic
    def dynamo_exec(self, line: str, cell: str) -> None:
        """Runs the cell in a live worker, whose service is `self` there; what it shows is shown here.

        %%dynamo_exec Backend[0]            in the first worker of Backend
        %%dynamo_exec Backend[*]            in all of them

        An error is shown here and harms nothing there. The cell shares the worker's event loop: `await` lets requests
        pass, and what blocks for long belongs in a thread.
        """
        from dynamo_nb.notebook.exec_in_worker import find, run_inside

        run_inside(*find(self.session.deployments, line), cell)

    @cell_magic
    def dynamo_config(self, line: str, cell: str) -> None:  # noqa: ARG002
        """A YAML configuration file in a cell: what it says holds for every graph that this notebook serves.

        %%dynamo_config
        Backend:
          ServiceArgs: {workers: 2}
          suffix: "!"
        """
        config_layer(f"{CONFIG}\n{cell}", self.session.running)


def plain_first_line(lines: list[str]) -> list[str]:
    """Turns a `%%dynamo_service` line into a comment, so that the rest stays an ordinary cell.

    Line numbers, tracebacks and editors' cells are then what they are everywhere, and `from __future__` may follow.
    Raises DefinitionError for a wrong flag, so that the cell does not run.
    """
    found = service_line("".join(lines))
    if found is None:
        return lines
    flags_of(found)
    return [*lines[: found.at], f"# {lines[found.at].lstrip()}", *lines[found.at + 1 :]]


# Else IPython also asks it whether a cell that is being typed is complete, and would show what it raises.
plain_first_line.has_side_effects = True  # type: ignore[attr-defined]
