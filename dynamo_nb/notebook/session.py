"""The extension in one notebook: its cells, its deployments, and the drawings in its outputs.

After each cell the session redraws the graphs and updates the deployments to the cells. The front end then still waits
for the end of the cell, so an error is shown under the cell that caused it, and papermill stops there.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamo_nb.deployment.notebook_name import NOTEBOOK
from dynamo_nb.errors import DynamoError
from dynamo_nb.notebook import front_end
from dynamo_nb.notebook.cell_tracker import CellTracker
from dynamo_nb.notebook.interrupts import Interrupts
from dynamo_nb.notebook.own_deployments import OwnDeployments
from dynamo_nb.notebook.variables import Variables
from dynamo_nb.sdk.links import links_in
from dynamo_nb.sdk.origin import set_cell_finder
from dynamo_nb.source import Cell, services_in, slice_services
from dynamo_nb.source.first_line import service_line
from dynamo_nb.source.headers import flags_of
from dynamo_nb.source.search_path import process_search_path

if TYPE_CHECKING:  # imported on first use: `%load_ext` must be fast
    from dynamo_nb.control.record import Record
    from dynamo_nb.deployment.deployment import Deployment
    from dynamo_nb.notebook.cell_output import CellOutput
    from dynamo_nb.notebook.drawings import Drawings
    from dynamo_nb.notebook.live_logs import LiveLogs
    from dynamo_nb.notebook.live_tables import LiveTables


class NotebookSession:
    """The state of the extension for one IPython shell. It is the `Notebook` of `dynamo_nb.deployment.start`.

    Attributes:
        shell: The IPython shell.
        tracker: The cells that ran, and the running one.
        variables: The global variables of the notebook.
        own: The deployments of the notebook.
    """

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.tracker = CellTracker(shell)
        self.variables = Variables(shell)
        self.own = OwnDeployments(self.tracker, self._status_changed)
        self._interrupts = Interrupts(shell)
        self._drawings: Drawings | None = None
        self._tables: LiveTables | None = None
        self._logs: LiveLogs | None = None
        self._outputs: list[CellOutput] = []
        self._preloaded = False
        self._failed_update = ""
        """Key of the cell whose definitions could not be deployed."""

    # --- events of the shell ---------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Connects the session to the shell. Called when the extension is loaded."""
        self.tracker.read_history()
        self.shell.user_ns[NOTEBOOK] = self
        self.shell.events.register("pre_run_cell", self._before_cell)
        self.shell.events.register("post_run_cell", self._after_cell)
        set_cell_finder(self.tracker.origin)
        self._interrupts.begin()
        self._name_left_running()

    def _name_left_running(self) -> None:
        """Prints the deployments that an earlier kernel of this notebook left running."""
        from dynamo_nb.control.record import left_running

        with suppress(DynamoError):  # reported where the state directory is needed
            for record in left_running([deployment.id for deployment in self.own.all], self.path):
                id_ = record.id
                verbs = f"`%dynamo attach {id_}` connects to it, `%dynamo stop {id_}` stops it"
                print(f"{id_} is still running, detached: its serving cell updates it, {verbs}")

    def end(self) -> None:
        """Disconnects the session from the shell. Called when the extension is unloaded."""
        self.shell.events.unregister("pre_run_cell", self._before_cell)
        self.shell.events.unregister("post_run_cell", self._after_cell)
        set_cell_finder(None)
        self._interrupts.end()
        self.shell.user_ns.pop(NOTEBOOK, None)

    def _before_cell(self, info: Any) -> None:
        if not info.store_history:
            return
        self.shell.user_ns[NOTEBOOK] = self  # `%reset` removes it, with all other variables
        cell = self.tracker.start(info)
        links_in(self.shell.user_ns).forget(cell.key)
        for outputs in (self._drawings, self._tables, self._logs):
            if outputs is not None:
                outputs.forget(cell.key)

    def _after_cell(self, result: Any) -> None:
        if self.tracker.running is None or not result.info.store_history:
            return
        result.error_in_exec = self._interrupts.ended(result.error_in_exec)
        cell = self.tracker.finish(result)
        failed = cell is not None and cell.failed_at is not None
        if cell is not None and not failed:
            try:
                self._check(cell)
                if not self.own.follow(again=cell.key == self._failed_update):
                    self._failed_update = cell.key
                self.own.print_notes()
            except (DynamoError, KeyboardInterrupt) as error:
                failed = True
                self._failed_update = cell.key
                # As if the cell itself had raised it: shown under the cell, and papermill stops here.
                result.error_in_exec = error
                self.shell.showtraceback((type(error), error, None))
        if cell is not None:
            self.own.note_edit(cell, failed=failed, reported=bool(getattr(result.error_in_exec, "__notes__", ())))
        if self._drawings is not None:
            self._drawings.redraw()
        if not self._preloaded and self.variables.services:
            self._preloaded = True
            threading.Thread(target=_preload, args=(self.has_widgets,), name="dynamo-imports", daemon=True).start()
        for output in self._outputs:
            output.repeat()
        self._outputs = [output for output in self._outputs if not output.finished]

    def _check(self, cell: Cell) -> None:
        """Checks that workers can import the services of a cell, if its first line asks for that."""
        if (line := service_line(cell.text)) is not None:
            flags_of(line)  # not checked yet if the same cell loads the extension
            services, search = list(services_in([cell])), process_search_path()
            slice_services(self.tracker.book.cells, services, live=self.shell.user_ns, root=Path.cwd(), search=search)

    def _status_changed(self, deployment: Deployment) -> None:
        if self._drawings is not None:
            self._drawings.status_changed(deployment)

    # --- the protocol Notebook --------------------------------------------------------------------------------------

    @property
    def deployments(self) -> list[Deployment]:
        return self.own.all

    @property
    def deleted(self) -> set[str]:
        return self.tracker.deleted

    def cells(self) -> Sequence[Cell]:
        return self.tracker.cells

    @property
    def title(self) -> str:
        name = os.environ.get("JPY_SESSION_NAME", "")  # the path of the notebook, if the server sets it
        return f"notebook {Path(name).name}".strip()

    @property
    def names(self) -> dict[str, Any]:
        return self.variables.namespace

    @property
    def path(self) -> str:
        # VS Code sets a variable, Jupyter's server an environment variable. Other programs set neither.
        name = os.environ.get("JPY_SESSION_NAME") or self.shell.user_ns.get("__vsc_ipynb_file__")
        return str(Path(name).absolute()) if name else f"{Path.cwd()}/"

    def starting(self, deployment: Deployment) -> AbstractContextManager[None]:
        return self.own.starting(deployment)

    def started(self, deployment: Deployment) -> None:
        self.own.add_started(deployment)

    def attached(self, deployment: Deployment) -> None:
        self.own.add(deployment)

    def found(self, deployment: Deployment) -> None:
        self.own.add_found(deployment)

    def not_found(self, record: Record, reason: str) -> None:
        stop = f"`%dynamo stop {record.id}` stops it"
        print(f"{record.id} is still running, detached, and cannot be attached ({reason}); {stop}")

    def earlier(self, entry: str) -> Deployment | None:
        return self.own.earlier(entry)

    def updated(self, deployment: Deployment, changes: str) -> None:
        self.own.updated(deployment, changes)

    def display(self) -> CellOutput:
        from dynamo_nb.notebook.cell_output import CellOutput

        output = CellOutput(self.shell, lambda: self.tracker.running_key)
        self._outputs.append(output)
        return output

    def show(self, subject: str | Deployment) -> None:
        """Displays the graph of a service, or a deployment, and keeps it up to date."""
        embedded = not front_end.is_jupyterlab(self.shell)
        self.drawings.show(subject, cell=self.tracker.running_key, live=self.has_widgets, embedded=embedded)

    # --- outputs ---------------------------------------------------------------------------------------------------

    @property
    def has_widgets(self) -> bool:
        """True if a browser may display widgets; False under nbclient, papermill and in a terminal.

        Such programs send no cell ids. If they saved a widget, nbconvert would show it instead of its static forms, and
        load code for it from the network.
        """
        return front_end.cell_id(self.shell) is not None

    @property
    def drawings(self) -> Drawings:
        """The graphs in the outputs of cells."""
        if self._drawings is None:
            from dynamo_nb.notebook.actions import Actions
            from dynamo_nb.notebook.drawings import Drawings
            from dynamo_nb.notebook.link_actions import LinkActions

            links = LinkActions(self.variables, self.own.update, lambda: self.drawings.redraw(between_cells=True))
            actions = Actions(self.variables, links, self._between_cells)
            busy = lambda: self.tracker.running is not None  # noqa: E731
            self._drawings = Drawings(self.variables, lambda: self.own.shown, actions.start, busy)
        return self._drawings

    def _between_cells(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.shell.kernel.io_loop.add_callback(work)

    @property
    def tables(self) -> LiveTables:
        """The live tables in the outputs of cells."""
        if self._tables is None:
            from dynamo_nb.notebook.live_tables import LiveTables

            self._tables = LiveTables()
        return self._tables

    @property
    def logs(self) -> LiveLogs:
        """The live logs in the outputs of cells."""
        if self._logs is None:
            from dynamo_nb.notebook.live_logs import LiveLogs

            self._logs = LiveLogs()
        return self._logs


def _preload(widgets: bool) -> None:
    """Imports what drawing and serving need, while the user writes the next cell."""
    with suppress(ImportError):  # reported where it is needed
        for module in (
            "dynamo_nb.notebook.verb_host",
            *(["dynamo_nb.notebook.drawings"] if widgets else []),
        ):
            import_module(module)
