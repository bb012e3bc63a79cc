"""The verbs of `dynamo` as a notebook uses them."""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from IPython.core.display_functions import display

from dynamo_nb.cli.cli import Console
from dynamo_nb.deployment.attach import chosen, take_up
from dynamo_nb.deployment.deployment import Deployment
from dynamo_nb.deployment.plan import Recipe, layers_of
from dynamo_nb.deployment.serve import start
from dynamo_nb.errors import DeploymentError
from dynamo_nb.graph import Graph
from dynamo_nb.notebook.session import Session
from dynamo_nb.observe.display import Display
from dynamo_nb.program.program import live
from dynamo_nb.sdk.portal import portal


class NotebookConsole(Console):
    """The verbs as a notebook uses them: targets are its own services, and its own deployments come first."""

    prefix = "%dynamo"
    target = "Frontend"
    terminal = False

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
            lambda: layers_of(files, words, where),
            namespace,
        )

    def serve(self, recipe: Any, options: dict[str, Any], detach: bool) -> Any:
        return portal.run(start(recipe, options, detach=detach, notebook=self.session))

    def draw(self, target: str, graph: Graph) -> Any:
        if _elsewhere(target):
            return graph
        self.session.show(target)
        return None

    def _own(self) -> list[Deployment]:
        return [d for d in self.session.deployments if not d.ended]

    def record(self, which: str | None) -> Any:
        own = self._own()
        if which is None and len(own) == 1:
            which = own[0].id
        return super().record(which)

    def attach(self, which: str | None) -> Deployment:
        return portal.run(take_up(chosen(which), self.session))

    def deployment(self, which: str | None) -> Any:
        record = self.record(which)
        return next((d for d in self._own() if d.id == record.id), None) or super().deployment(which)

    def give(self, value: Any) -> Any:
        return value

    def show(self, value: Any) -> None:
        if hasattr(value, "_repr_mimebundle_"):
            display(value)
        else:
            super().show(value)

    def top(self, record: Any, *, once: bool) -> None:
        self.session.page.show_top(record.control, cell=self.session.cell, live=self.session.on_page and not once)

    def place(self) -> Display:
        return self.session.place()

    def until_interrupted(self) -> AbstractContextManager[None]:
        return suppress(KeyboardInterrupt)

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
