"""One notebook's session: the cells it has run, its deployments, and the drawings on its page.

After each cell the session redraws what is shown and brings its deployments to what the cells now say. That happens
before the cell counts as done: an error stands under the cell that made it, and stops papermill.
"""

from __future__ import annotations

import time
import traceback
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from dynamo_nb.config.layers import Layer
from dynamo_nb.deployment import Deployment
from dynamo_nb.errors import DynamoError, TargetError, nearest
from dynamo_nb.graph.graph import Graph
from dynamo_nb.notebook.interrupts import Interrupts
from dynamo_nb.notebook.place import Place
from dynamo_nb.notebook.still import Still
from dynamo_nb.notebook.view import GraphView
from dynamo_nb.notebook_seam import NOTEBOOK, Notebook
from dynamo_nb.sdk.links import links_in
from dynamo_nb.sdk.origin import Origin, tell_cells_by
from dynamo_nb.sdk.service import is_service
from dynamo_nb.source import Cell, CellBook, services_in, slice_services
from dynamo_nb.source.headers import CONFIG, config_layers, flags_of, header_of


class Session(Notebook):
    """Follows one IPython shell. `deployments`: those that began here and have not ended, oldest first."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.book = CellBook()
        self.deployments: list[Deployment] = []
        self._views: list[tuple[Callable[[], GraphView | Still | None], str | Deployment]] = []
        self._running: Cell | None = None
        self._checked = False
        self._blamed = ""
        self._told: set[str] = set()
        self._interrupts = Interrupts(shell)
        self._places: list[Place] = []

    # --- the shell's events ----------------------------------------------------------------------------------------

    def begin(self) -> None:
        known = max((cell.number for cell in self.book), default=0)
        past = self.shell.history_manager
        failed = getattr(past, "exceptions", {})  # from IPython 9 on
        history = [
            Cell(text, f"cell {n}", n, failed_at=0 if n in failed else None)
            for n, text in enumerate(past.input_hist_raw)
            if n > known
        ]
        for earlier in history[:-1]:
            self.book.record(earlier)
        if history:  # the last one is running: it loads the extension
            self._running = replace(history[-1], cell_id=_asked_cell(self.shell))
        self.shell.user_ns[NOTEBOOK] = self
        self.shell.events.register("pre_run_cell", self._before)
        self.shell.events.register("post_run_cell", self._after)
        tell_cells_by(self._origin)
        self._interrupts.begin()

    def end(self) -> None:
        self.shell.events.unregister("pre_run_cell", self._before)
        self.shell.events.unregister("post_run_cell", self._after)
        tell_cells_by(None)
        self._interrupts.end()
        self.shell.user_ns.pop(NOTEBOOK, None)

    def _before(self, info: Any) -> None:
        if not info.store_history:
            return
        if self._running is not None:  # it was over when the extension was loaded
            self.book.record(self._running)
        # The shell's own count is one higher here from IPython 9 on.
        number = len(self.shell.history_manager.input_hist_raw)
        self._running = Cell(info.raw_cell, f"cell {number}", number, getattr(info, "cell_id", None))
        links_in(self.shell.user_ns).forget(self._running.key)
        # What a deleted cell defined still stands in the kernel; what it configured stands nowhere else.
        deleted = _metadata(self.shell).get("deletedCells", ())
        configs = (c.cell_id for c in self.book if c.cell_id in deleted and header_of(c.text, CONFIG) is not None)
        self.book.forget({cell_id for cell_id in configs if cell_id is not None})

    def _after(self, result: Any) -> None:
        cell = self._running
        if cell is None or not result.info.store_history:
            return
        self._running = None
        result.error_in_exec = self._interrupts.ended(result.error_in_exec)
        failed = self._failed_at(result)
        self._checked, checked = False, self._checked
        self.book.record(replace(cell, failed_at=failed))
        if failed is None:
            try:
                if checked:
                    slice_services(self.book.cells, list(services_in([cell])), live=self.shell.user_ns, root=Path.cwd())
                self._follow(again=cell.key == self._blamed)
                self._tell_notes()
            except (DynamoError, KeyboardInterrupt) as error:
                self._blamed = cell.key
                # As if the cell itself had raised it: shown under the cell, and papermill stops here.
                result.error_in_exec = error
                self.shell.showtraceback((type(error), error, None))
        self.redraw()
        for place in self._places:
            place.again()
        self._places = [place for place in self._places if not place.closed]

    def _failed_at(self, result: Any) -> int | None:
        if result.success:
            return None
        error = result.error_in_exec
        if error is None:
            return 0
        files = getattr(self.shell.compile, "_filename_map", {})
        lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename in files]
        return lines[0] if lines else 0

    def _origin(self, frame: FrameType) -> Origin | None:
        """The cell that a frame runs in."""
        files = getattr(self.shell.compile, "_filename_map", {})
        number = files.get(frame.f_code.co_filename)
        if number is None:
            return None
        cell = self._running
        if cell is None or cell.number != number:
            return Origin(frame.f_code.co_filename, f"cell {number}, line {frame.f_lineno}")
        return Origin(cell.key, f"{cell.label}, line {frame.f_lineno}")

    @property
    def running(self) -> str:
        """What messages call the cell that is running."""
        return self._running.label if self._running is not None else "a cell"

    def declare(self, flags: str) -> None:
        """What the first line of a `%%dynamo_service` cell runs: its flags are checked, and later its services."""
        flags_of(flags)
        self._checked = True

    # --- deployments -----------------------------------------------------------------------------------------------

    def cells(self) -> Sequence[Cell]:
        running = self._running
        if running is None:
            return self.book.cells
        return [*(cell for cell in self.book if cell.key != running.key or cell.failed_at is not None), running]

    def config_layers(self) -> Sequence[Layer]:
        return config_layers(cell for cell in self.cells() if cell.failed_at is None)

    def started(self, deployment: Deployment) -> None:
        self.deployments.append(deployment)
        deployment.listeners.append(self._heard)

    def _follow(self, *, again: bool) -> None:
        """Brings every deployment to what the cells say now. again: also to what it could not become before.

        One that refuses does not keep the others from following; the first error is raised in the end.
        """
        self.deployments = [deployment for deployment in self.deployments if not deployment.ended]
        errors = []
        for deployment in self.deployments:
            before = {name: _pids(deployment, name) for name in deployment.spec.started}
            began = time.perf_counter()
            try:
                followed = deployment.follow(again=again).result()
            except DynamoError as error:
                errors.append(error)
                continue
            if followed:
                took = time.perf_counter() - began
                changed = [n for n in deployment.spec.started if _pids(deployment, n) != before.get(n)]
                gone = [n for n in before if n not in deployment.spec.started]
                parts = [f"replaced {', '.join(changed)}"] * bool(changed) + [f"stopped {', '.join(gone)}"] * bool(gone)
                if parts:
                    print(f"{deployment.id}: {'; '.join(parts)} in {took:.1f} s")
        if errors:
            raise errors[0]

    def _tell_notes(self) -> None:
        """Prints what the workers of this notebook's deployments will not see of its cells; each thing once."""
        for note in dict.fromkeys(note for deployment in self.deployments for note in deployment.notes):
            if note not in self._told:
                self._told.add(note)
                print(note)

    def _heard(self, _: Deployment) -> None:
        # Called on another thread; widgets belong to the kernel's own.
        if (kernel := getattr(self.shell, "kernel", None)) is not None and (loop := kernel.io_loop) is not None:
            loop.add_callback(self.redraw, between_cells=True)

    def place(self) -> Place:
        place = Place(self.shell, lambda: self._running is None)
        self._places.append(place)
        return place

    def mimebundle(self, deployment: Deployment, still: dict[str, str], **kwargs: Any) -> Any:
        if not self.on_page:
            return still
        data, metadata = self.view(deployment)._repr_mimebundle_(**kwargs)
        return {**data, **still}, metadata

    # --- drawings --------------------------------------------------------------------------------------------------

    @property
    def on_page(self) -> bool:
        """Whether a page may be looking, rather than nbclient, papermill or a terminal, which name no cells.

        Without one a widget would only hide its static forms: nbconvert shows the state that nbclient saves of it, and
        needs the network for that.
        """
        return _asked_cell(self.shell) is not None

    def view(self, of: str | Deployment) -> GraphView:
        """A live drawing that follows: a service's graph as cells run, or a deployment as it runs."""
        view = GraphView(*self._drawing(of))
        self._views.append((weakref.ref(view), of))
        return view

    def display(self, of: str) -> GraphView | None:
        """Shows the graph of a service: live on a page, else in its static forms, which follow as well."""
        if self.on_page:
            return self.view(of)
        still = Still(self._drawing(of)[0])
        self._views.append((lambda: still, of))
        return None

    def redraw(self, *, between_cells: bool = False) -> None:
        """Brings every drawing up to date. Front ends take changes of outputs only from a running cell."""
        self._views = [(get, of) for get, of in self._views if get() is not None]
        for get, of in self._views:
            try:
                drawing = self._drawing(of)
            except DynamoError:
                continue  # a graph that is half written is shown as it was; serving it says what is wrong
            view = get()
            if view is not None and not (between_cells and isinstance(view, Still)):
                view.show(*drawing)

    def _drawing(self, of: str | Deployment) -> tuple[Any, Any]:
        if isinstance(of, str):
            served = [d for d in self.deployments if d.spec.entry == of and not d.ended]
            if not served:
                return Graph.of(self.service(of), self.shell.user_ns).picture(), None
            of = served[-1]
        return of.picture, _cards(of)

    def service(self, name: str) -> type:
        """A service among the notebook's names."""
        value = self.shell.user_ns.get(name)
        if not is_service(value):
            known = [n for n, v in self.shell.user_ns.items() if is_service(v)]
            raise TargetError(f"this notebook has no service {name!r}", remedy=nearest(name, known))
        return value  # type: ignore[no-any-return]


def _asked_cell(shell: Any) -> str | None:
    """The id of the cell that a kernel was asked to run; None where front ends name none."""
    return _metadata(shell).get("cellId")


def _metadata(shell: Any) -> dict[str, Any]:
    """What the front end says with the request that runs now."""
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    return parent.get("metadata", {})  # type: ignore[no-any-return]


def _pids(deployment: Deployment, service: str) -> list[int]:
    return [w["pid"] for w in deployment.state["services"].get(service, {"workers": []})["workers"]]


def _cards(deployment: Deployment) -> dict[str, dict[str, Any]]:
    """What a click on a service shows: its workers and its configuration."""
    cards: dict[str, dict[str, Any]] = {}
    for name, service in deployment.state.get("services", {}).items():
        if not service["state"]:
            continue
        workers = {
            f"worker {w['index']}": f"{w['state']}, pid {w['pid']}"
            + (f", GPU {','.join(w['gpus'])}" if w["gpus"] else "")
            for w in service["workers"]
        }
        rows = {
            path.removeprefix(f"{name}."): f"{value}  ({origin})"
            for path, value, origin in deployment.config.rows()
            if path.startswith(f"{name}.")
        }
        url = {"url": deployment.urls[name]} if name in deployment.urls else {}
        cards[name] = {**url, **workers, "configuration": rows}
    return cards
