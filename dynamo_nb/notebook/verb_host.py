"""Verbs in a notebook, as `%dynamo VERB …` runs them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from IPython.core.display_functions import display

from dynamo_nb.cli.host import VerbHost
from dynamo_nb.control.state_dir import Record
from dynamo_nb.deployment.attach import chosen, take_up
from dynamo_nb.deployment.deployment import Deployment
from dynamo_nb.deployment.plan import Recipe, layers_of
from dynamo_nb.deployment.serve import start
from dynamo_nb.errors import DeploymentError
from dynamo_nb.graph import Graph
from dynamo_nb.notebook.session import NotebookSession
from dynamo_nb.observe.display import Display
from dynamo_nb.program import live
from dynamo_nb.sdk.portal import portal


class NotebookHost(VerbHost):
    """A notebook. Its own services are targets, and its own deployments are preferred to others.

    Args:
        session: The state of the extension.
    """

    prefix = "%dynamo"
    example_target = "Frontend"
    is_terminal = False

    def __init__(self, session: NotebookSession) -> None:
        self._session = session

    def recipe(
        self,
        target: str,
        *,
        files: Sequence[str] = (),
        config_words: Sequence[str] = (),
        working_dir: Path | None = None,
        namespace: str | None = None,
    ) -> Recipe:
        if _is_elsewhere(target):
            return super().recipe(
                target, files=files, config_words=config_words, working_dir=working_dir, namespace=namespace
            )
        variables, tracker = self._session.variables, self._session.tracker
        variables.service(target)
        where = f"%dynamo, {tracker.running_label}"
        return Recipe(
            lambda: live(variables.service(target), variables.namespace, tracker.cells),
            lambda: layers_of(files, config_words, where),
            namespace,
        )

    def export_served(self, folder: Path) -> Path:
        own = self._own()
        if len(own) != 1:
            what = "nothing is being served here" if not own else "several deployments run here"
            raise DeploymentError(what, remedy="%dynamo export Service folder/")
        return own[0].export(folder)

    def _own(self) -> list[Deployment]:
        return [deployment for deployment in self._session.own.all if not deployment.ended]

    def record(self, which: str | None) -> Record:
        own = self._own()
        if which is None and len(own) == 1:
            which = own[0].id
        return super().record(which)

    def deployment(self, which: str | None) -> Deployment:
        record = self.record(which)
        return next((d for d in self._own() if d.id == record.id), None) or super().deployment(which)

    def show(self, value: Any) -> None:
        if hasattr(value, "_repr_mimebundle_"):
            display(value)
        else:
            super().show(value)

    def result(self, value: Any) -> Any:
        return value

    def display(self) -> Display:
        return self._session.place()

    def draw(self, target: str, graph: Graph) -> Any:
        if _is_elsewhere(target):
            return graph
        self._session.show(target)
        return None

    def interruptible(self) -> AbstractContextManager[None]:
        return suppress(KeyboardInterrupt)

    def serve(self, recipe: Recipe, options: dict[str, Any], *, detach: bool) -> Deployment:
        return portal.run(start(recipe, options, detach=detach, notebook=self._session))

    def attach(self, which: str | None) -> Deployment:
        return portal.run(take_up(chosen(which), self._session))

    def top(self, record: Record, *, once: bool) -> None:
        session = self._session
        session.tables.show(record.control, cell=session.tracker.running_key, live=session.has_widgets and not once)


def _is_elsewhere(target: str) -> bool:
    """True for a module, a file, a saved notebook or a bundle; False for a service of this notebook."""
    return ":" in target or "/" in target or target.endswith((".py", ".ipynb"))
