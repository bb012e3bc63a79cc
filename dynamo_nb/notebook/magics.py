"""The magics: `%dynamo VERB …`, `%%dynamo_service`, `%%dynamo_config`, `%%dynamo_exec`."""

from __future__ import annotations

from typing import Any

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand

from dynamo_nb.errors import TargetError
from dynamo_nb.notebook.session import NotebookSession
from dynamo_nb.source.first_line import SERVICE, service_line
from dynamo_nb.source.headers import CONFIG, config_layer, flags_of


@magics_class
class DynamoMagics(Magics):  # type: ignore[misc]
    """The magics of one shell.

    Args:
        shell: The IPython shell.
        session: The state of the extension for this shell.
    """

    def __init__(self, shell: Any, session: NotebookSession) -> None:
        super().__init__(shell)
        self.session = session

    @no_var_expand
    @line_magic
    def dynamo(self, line: str) -> Any:
        """`%dynamo VERB …` runs the command `dynamo VERB …`; the services of this notebook are targets.

        %dynamo graph Frontend              draw the graph; it is updated as cells run
        %dynamo config Frontend             the effective configuration, with the origin of each value
        %dynamo serve Frontend -f config.yaml   serve it (or: deployment = await serve(Frontend, "config.yaml"))
        %dynamo trace Frontend.generate --payload '{"text": "hello"}'
        %dynamo bench Frontend.generate -c 64 --payload '{"text": "hello"}'   with --background: run other cells
        %dynamo ps                          the deployments of this user
        %dynamo logs Backend                what its workers printed
        %dynamo scale Backend=4             four workers
        %dynamo export bundle/              what runs, for another machine
        %dynamo stop                        drain and stop it
        %dynamo attach                      connect to what an earlier kernel left running (serve … --detach)
        %dynamo help serve                  the options of a verb, with examples; also: %dynamo serve?
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
        """Defines the services of this cell, and checks that workers can import them.

        %%dynamo_service [--workers N] [--gpu N] [--cpu N] [--memory N] [--namespace NAME]

        The rest of the cell is ordinary Python, with classes decorated by @service. The first line may also be
        `#| dynamo_service`: then the cell is valid Python for every editor. Cells without such a line are checked when
        the graph is served. The flags override the decorator; YAML overrides the flags.
        """
        # Only `run_cell_magic` calls this. A cell that is typed is handled by `plain_first_line`.
        self.shell.run_cell(f"{SERVICE} {line}\n{cell}").raise_error()

    @no_var_expand
    @cell_magic
    def dynamo_exec(self, line: str, cell: str) -> None:
        """Runs the cell in a worker, where `self` is the service object, and shows its outputs here.

        %%dynamo_exec Backend[0]            in the first worker of Backend
        %%dynamo_exec Backend[*]            in all of its workers

        An error is shown here and does not affect the worker. The cell shares the event loop with the service: use
        `await` so that requests are processed meanwhile, and a thread for code that blocks.
        """
        from dynamo_nb.notebook.exec_in_worker import exec_in_workers, find

        exec_in_workers(*find(self.session.own.all, line), cell)

    @cell_magic
    def dynamo_config(self, line: str, cell: str) -> None:  # noqa: ARG002
        """A YAML configuration file in a cell. It applies to every graph that this notebook serves.

        %%dynamo_config
        Backend:
          ServiceArgs: {workers: 2}
          suffix: "!"
        """
        config_layer(f"{CONFIG}\n{cell}", self.session.tracker.running_label)


def plain_first_line(lines: list[str]) -> list[str]:
    """Turns a `%%dynamo_service` line into a comment, so that the rest is an ordinary cell.

    Line numbers and tracebacks stay correct, editors see Python, and `from __future__` may follow.

    Args:
        lines: The lines of a cell.

    Returns:
        The lines for IPython to compile.

    Raises:
        DefinitionError: A flag is wrong, so the cell must not run.
    """
    found = service_line("".join(lines))
    if found is None:
        return lines
    flags_of(found)
    return [*lines[: found.at], f"# {lines[found.at].lstrip()}", *lines[found.at + 1 :]]


# Otherwise IPython calls it for incomplete cells too, and would show its errors while the user is typing.
plain_first_line.has_side_effects = True  # type: ignore[attr-defined]
