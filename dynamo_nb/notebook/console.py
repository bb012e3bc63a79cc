"""The verbs of `dynamo` as a notebook uses them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dynamo_nb.cli import Console
from dynamo_nb.deployment import Deployment
from dynamo_nb.errors import DeploymentError
from dynamo_nb.graph import Graph
from dynamo_nb.notebook.session import Session
from dynamo_nb.plan import Recipe, layers_of
from dynamo_nb.program import live
from dynamo_nb.sdk.portal import portal
from dynamo_nb.serving import start


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
            lambda: [*session.config_layers(), *layers_of(files, words, where)],
            namespace,
        )

    def serve(self, recipe: Any, options: dict[str, Any], detach: bool) -> Any:
        return portal.run(start(recipe, options, detach=detach, notebook=self.session))

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
