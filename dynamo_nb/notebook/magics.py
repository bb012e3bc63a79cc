"""The magics: `%dynamo VERB …`, `%%dynamo_service`, `%%dynamo_config`."""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand

from dynamo_nb.cli import Console, run
from dynamo_nb.deployment import Deployment
from dynamo_nb.errors import DeploymentError, TargetError
from dynamo_nb.graph import Graph
from dynamo_nb.notebook.inside import find, run_inside
from dynamo_nb.notebook.session import Session
from dynamo_nb.notebook_seam import NOTEBOOK
from dynamo_nb.observe.display import Display
from dynamo_nb.observe.load import LoadShape
from dynamo_nb.observe.request import Request
from dynamo_nb.plan import Recipe, layers_of
from dynamo_nb.program import live
from dynamo_nb.sdk.portal import portal
from dynamo_nb.serving import start
from dynamo_nb.source.headers import CONFIG, SERVICE, config_layer, header_of


class NotebookConsole(Console):
    """The verbs as a notebook uses them: targets are its own services, and its own deployments come first."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def recipe(self, target: str, files: Any, working_dir: Path | None, namespace: str | None) -> Recipe:
        if _elsewhere(target):
            return super().recipe(target, files, working_dir, namespace)  # type: ignore[no-any-return]
        session, words = self.session, self.words
        session.service(target)
        space = session.shell.user_ns
        where = f"%dynamo, {session.running}"
        return Recipe(
            lambda: live(session.service(target), space, session.cells()),
            lambda: [*session.config_layers(), *layers_of(files, words, where)],
            namespace,
        )

    def serve(self, recipe: Any, options: dict[str, Any], detach: bool) -> Any:
        return portal.run(start(recipe, options, detach=detach, notebook=self.session))

    def bench(self, which: str | None, target: str, payload: str | None, shape: LoadShape, *, background: bool) -> Any:
        record = self.record(which)
        for deployment in self._own():
            if deployment.id == record.id:
                calls = [request.call() for request in Request.parse_all(deployment, target, payload)]
                run = deployment.bench(*calls, **vars(shape))
                return run.start() if background else run.result()
        run = self.bench_of(record, target, payload, shape)
        return run.start() if background else run.result()

    def place(self) -> Display:
        return self.session.place()

    def until_interrupted(self) -> AbstractContextManager[None]:
        return suppress(KeyboardInterrupt)

    def value(self, value: Any) -> Any:
        return value

    def draw(self, target: str, graph: Graph) -> Any:
        return graph if _elsewhere(target) else self.session.display(target)

    def _own(self) -> list[Deployment]:
        return [d for d in self.session.deployments if not d.ended]

    def record(self, which: str | None) -> Any:
        own = self._own()
        if which is None and len(own) == 1:
            which = own[0].id
        return super().record(which)

    def export(self, target: str, recipe: Any, folder: Path) -> Path:
        """`%dynamo export bundle/` writes what is served; with a service before the folder, what would be."""
        own = self._own()
        if folder == Path(target):
            if len(own) != 1:
                what = "nothing is being served here" if not own else "several deployments run here"
                raise DeploymentError(what, remedy="%dynamo export Service folder/")
            return own[0].export(folder)
        return super().export(target, recipe, folder)


def _elsewhere(target: str) -> bool:
    """Whether a target is none of the notebook's own services: a module, a file, a saved notebook or a bundle."""
    return ":" in target or "/" in target or target.endswith((".py", ".ipynb"))


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
        %dynamo bench frontend.generate --concurrency 64 --payload '{"text": "hello"}'   --background: go on meanwhile
        %dynamo ps / logs Backend / scale Backend=4 / export bundle/ / stop
        """
        import shlex

        try:
            words = shlex.split(line)
        except ValueError as error:
            raise TargetError(f"%dynamo: {error}", remedy="close the quotation") from None
        return run(words, NotebookConsole(self.session))

    @cell_magic
    def dynamo_service(self, line: str, cell: str) -> None:
        """Defines the services of this cell, and checks at once that a worker could import them.

        %%dynamo_service [--workers N] [--gpu N] [--cpu N] [--memory N] [--namespace NAME]

        The rest is an ordinary cell: its classes are decorated with @service. An ordinary cell without this line does
        the same; the flags stand over the decorator and under YAML. Such a cell declares: write `await` in others.
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
    """Turns a `%%dynamo_service` line into one plain line, so that the rest stays an ordinary cell.

    Line numbers, tracebacks and editors' cells are then what they are everywhere.
    """
    text = "".join(lines)
    flags = header_of(text, SERVICE)
    if flags is None:
        return lines
    at = next(number for number, line in enumerate(lines) if line.strip())
    return [*lines[:at], f"{NOTEBOOK}.declare({flags.strip()!r})\n", *lines[at + 1 :]]
