"""Verbs in a notebook, as `%dynamo VERB …` runs them."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from IPython.core.display_functions import display

from dynamo_nb.cli.host import VerbHost
from dynamo_nb.config.arguments import arguments_layer
from dynamo_nb.control.record import Record
from dynamo_nb.deployment.attach import record_for
from dynamo_nb.deployment.deployment import Deployment
from dynamo_nb.deployment.plan_source import LiveProgram, PlanSource
from dynamo_nb.deployment.serve_options import ServeOptions
from dynamo_nb.deployment.start import connect, start
from dynamo_nb.errors import DeploymentError
from dynamo_nb.graph import Graph
from dynamo_nb.notebook import front_end
from dynamo_nb.notebook.session import NotebookSession
from dynamo_nb.observe import event_table, top
from dynamo_nb.observe.display import Display
from dynamo_nb.observe.log_reader import LogRequest
from dynamo_nb.sdk.portal import portal

_ASSIGNED: Final = re.compile(r"=\s*%dynamo\s+attach\b")


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

    def plan_source(
        self,
        target: str,
        *,
        files: Sequence[str] = (),
        config_words: Sequence[str] = (),
        working_dir: Path | None = None,
        namespace: str | None = None,
    ) -> PlanSource:
        if _is_elsewhere(target):
            return super().plan_source(
                target, files=files, config_words=config_words, working_dir=working_dir, namespace=namespace
            )
        session = self._session
        words = [arguments_layer(config_words)] if config_words else []
        return LiveProgram(
            entry=session.variables.service(target),
            names=session.names,
            cells=session,
            configs=[*files, *words],
            namespace=namespace,
            where=f"%dynamo, {session.tracker.running_label}",
        )

    def export_served(self, folder: Path) -> Path:
        own = self._own()
        if len(own) != 1:
            what = "nothing is being served here" if not own else "several deployments run here"
            raise DeploymentError(what, remedy="%dynamo export Service folder/")
        written = own[0].export(folder)
        for note in own[0].notes:
            self.show(note)
        return written

    def _own(self) -> list[Deployment]:
        return [deployment for deployment in self._session.own.all if not deployment.ended]

    def record(self, which: str | None) -> Record:
        return record_for(self._session, which)

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
        return self._session.display()

    def draw(self, target: str, graph: Graph) -> Any:
        if _is_elsewhere(target):
            return graph
        self._session.show(target)
        return None

    def interruptible(self) -> AbstractContextManager[None]:
        return suppress(KeyboardInterrupt)

    def serve(self, source: PlanSource, options: ServeOptions) -> Deployment:
        return portal.run(start(source, options, notebook=self._session))

    def attach(self, which: str | None) -> Deployment:
        deployment = portal.run(connect(self.record(which), self._session))
        self._bind(deployment)
        return deployment

    def _bind(self, deployment: Deployment) -> None:
        """Assigns an attached deployment to the variable of its serving cell, or prints the code that assigns it."""
        running = self._session.tracker.running
        if running is not None and _ASSIGNED.search(running.text):
            return
        names, variable = self._session.names, deployment.served_as
        earlier = names.get(variable)
        free = earlier is None or (isinstance(earlier, Deployment) and (earlier.ended or earlier.id == deployment.id))
        if variable and free:
            names[variable] = deployment
            print(f"`{variable}` is {deployment.id}")
        else:
            name = f"{variable or 'deployment'}{'_2' * (not free)}"
            print(f"`{name} = %dynamo attach {deployment.id}` assigns it to a variable")

    def logs(self, record: Record, request: LogRequest, *, times: bool) -> None:
        session = self._session
        if request.follow and session.has_widgets:
            embedded = not front_end.is_jupyterlab(session.shell)
            session.logs.show(record, request, cell=session.tracker.running_key, embedded=embedded)
            return
        # In a kernel without widgets, as under papermill, a user cannot end a cell that follows logs.
        ends = hasattr(session.shell, "kernel")
        super().logs(record, replace(request, follow=request.follow and not ends), times=times)

    def top(self, record: Record, *, once: bool) -> None:
        self._show_table(top.follow(record.control), live=not once)

    def follow_events(self, record: Record, number: int) -> None:
        self._show_table(event_table.follow_table(record.control, number))

    def _show_table(self, tables: AsyncGenerator[Any, None], *, live: bool = True) -> None:
        session = self._session
        session.tables.show(tables, cell=session.tracker.running_key, live=live and session.has_widgets)


def _is_elsewhere(target: str) -> bool:
    """True for a module, a file, a saved notebook or a bundle; False for a service of this notebook."""
    return ":" in target or "/" in target or target.endswith((".py", ".ipynb"))
