"""One notebook's session: the cells it has run, its deployments, and the drawings on its page.

After each cell the session redraws what is shown and brings its deployments to what the cells now say. That happens
before the cell counts as done: an error stands under the cell that made it, and stops papermill.
"""

from __future__ import annotations

import os
import re
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from dynamo_nb.deployment.notebook_seam import NOTEBOOK, Notebook
from dynamo_nb.errors import DynamoError, TargetError, suggestion
from dynamo_nb.notebook.interrupts import Interrupts
from dynamo_nb.sdk.definition import is_service
from dynamo_nb.sdk.links import links_in
from dynamo_nb.sdk.origin import Origin, set_cell_finder
from dynamo_nb.source import Cell, CellBook, services_in, slice_services
from dynamo_nb.source.first_line import service_line
from dynamo_nb.source.headers import CONFIG, flags_of, header_of

if TYPE_CHECKING:  # each is imported when it is first used, and not while `%load_ext` is waited for
    from dynamo_nb.deployment.deployment import Deployment
    from dynamo_nb.notebook.actions import Actions
    from dynamo_nb.notebook.cell_output import Place
    from dynamo_nb.notebook.drawings import Page

_CELL = re.compile(r"cell \d+")
_OUTPUT = re.compile(r"_+\d*")
"""The names that IPython gives to what cells show."""


class Session(Notebook):
    """Follows one IPython shell. `deployments`: those that began here and have not ended, oldest first."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.book = CellBook()
        self.deployments: list[Deployment] = []
        self._page: Page | None = None
        self._warmed = False
        self._running: Cell | None = None
        self._blamed = ""
        self._told: set[str] = set()
        self._made_by: dict[Deployment, tuple[str, int]] = {}
        self.deleted: set[str] = set()
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
        set_cell_finder(self._origin)
        self._interrupts.begin()

    def end(self) -> None:
        self.shell.events.unregister("pre_run_cell", self._before)
        self.shell.events.unregister("post_run_cell", self._after)
        set_cell_finder(None)
        self._interrupts.end()
        self.shell.user_ns.pop(NOTEBOOK, None)

    def _before(self, info: Any) -> None:
        if not info.store_history:
            return
        self.shell.user_ns[NOTEBOOK] = self  # which `%reset` takes away with all other names
        if self._running is not None:  # it was over when the extension was loaded
            self.book.record(self._running)
        # The shell's own count is one higher here from IPython 9 on.
        number = len(self.shell.history_manager.input_hist_raw)
        self._running = Cell(info.raw_cell, f"cell {number}", number, getattr(info, "cell_id", None))
        links_in(self.shell.user_ns).forget(self._running.key)
        if self._page is not None:
            self._page.forget(self._running.key)
        # What a deleted cell defined still stands in the kernel; what it configured stands nowhere else.
        self.deleted.update(_metadata(self.shell).get("deletedCells", ()))
        configs = (c.cell_id for c in self.book if c.cell_id in self.deleted and header_of(c.text, CONFIG) is not None)
        self.book.forget({cell_id for cell_id in configs if cell_id is not None})

    def _after(self, result: Any) -> None:
        cell = self._running
        if cell is None or not result.info.store_history:
            return
        self._running = None
        result.error_in_exec = self._interrupts.ended(result.error_in_exec)
        failed = self._failed_at(result)
        self.book.record(replace(cell, failed_at=failed))
        if failed is None:
            try:
                self._check(cell)
                self._follow(again=cell.key == self._blamed)
                self._tell_notes()
            except (DynamoError, KeyboardInterrupt) as error:
                self._blamed = cell.key
                # As if the cell itself had raised it: shown under the cell, and papermill stops here.
                result.error_in_exec = error
                self.shell.showtraceback((type(error), error, None))
        if self._page is not None:
            self._page.redraw()
        if not self._warmed and any(is_service(value) for value in self.names.values()):
            self._warmed = True
            threading.Thread(target=_warm, args=(self.on_page,), name="dynamo-imports", daemon=True).start()
        for place in self._places:
            place.again()
        self._places = [place for place in self._places if not place.over]

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

    def _check(self, cell: Cell) -> None:
        """Checks a cell whose first line asks for it: could workers import its services?"""
        if (line := service_line(cell.text)) is not None:
            flags_of(line)  # not seen yet where the same cell loads the extension
            slice_services(self.book.cells, list(services_in([cell])), live=self.shell.user_ns, root=Path.cwd())

    @property
    def cell(self) -> str:
        """The key of the cell that is running, or ""."""
        return self._running.key if self._running is not None else ""

    # --- deployments -----------------------------------------------------------------------------------------------

    def cells(self) -> Sequence[Cell]:
        running = self._running
        if running is None:
            return self.book.cells
        return [*(cell for cell in self.book if cell.key != running.key or cell.failed_at is not None), running]

    @property
    def title(self) -> str:
        name = os.environ.get("JPY_SESSION_NAME", "")  # the path of the notebook, from servers that tell it
        return f"notebook {Path(name).name}".strip()

    @property
    def names(self) -> dict[str, Any]:
        return self.shell.user_ns  # type: ignore[no-any-return]

    def started(self, deployment: Deployment) -> None:
        self.deployments.append(deployment)
        if deployment.served_with is not None and self._running is not None:
            self._made_by[deployment] = (self._running.key, self._running.number)
        deployment.listeners.append(self._heard)
        for warning in deployment.warnings:
            print(warning)
        if not deployment.owned:
            print(f"{deployment.id} goes on without this notebook: `%dynamo attach {deployment.id}` finds it again")

    def standing(self, entry: str) -> Deployment | None:
        running = self._running
        for deployment in reversed(self.deployments):
            if running is None or deployment.ended or deployment.spec.entry != entry:
                continue
            key, number = self._made_by.get(deployment, (running.key, 0))  # one that was attached is anybody's
            if key == running.key and number < running.number:
                return deployment
        return None

    def continued(self, deployment: Deployment) -> None:
        assert self._running is not None
        self._made_by[deployment] = (self._running.key, self._running.number)
        print(f"{deployment.id} goes on, as this cell says")

    def _follow(self, *, again: bool) -> None:
        """Brings every deployment to what the cells say now. again: also to what it could not become before.

        One that refuses does not keep the others from following; the first error is raised in the end.
        """
        self.deployments = [deployment for deployment in self.deployments if not deployment.ended]
        self._made_by = {d: made for d, made in self._made_by.items() if d in self.deployments}
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

    async def follow(self) -> None:
        """Brings every deployment to what the notebook's names say now; raises the first error in the end."""
        errors = []
        for deployment in [deployment for deployment in self.deployments if not deployment.ended]:
            try:
                await deployment.follow()
            except DynamoError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _tell_notes(self) -> None:
        """Prints what the workers of this notebook's deployments see otherwise than one may think; each thing once."""
        keys = {cell.label: cell.key for cell in self.book}
        for note in dict.fromkeys(note for deployment in self.deployments for note in deployment.notes):
            # A cell that is run again has another number, and says the same thing.
            about = _CELL.sub(lambda label: keys.get(label[0], label[0]), note)
            if about not in self._told:
                self._told.add(about)
                print(note)

    def _heard(self, deployment: Deployment) -> None:
        if self._page is not None:
            self._page.heard(deployment)

    def place(self) -> Place:
        from dynamo_nb.notebook.cell_output import Place

        place = Place(self.shell, lambda: self.cell)
        self._places.append(place)
        return place

    # --- drawings --------------------------------------------------------------------------------------------------

    @property
    def on_page(self) -> bool:
        """Whether a page may be looking, rather than nbclient, papermill or a terminal, which name no cells.

        Without one a widget would only hide its static forms: nbconvert shows the state that nbclient saves of it, and
        needs the network for that.
        """
        return _asked_cell(self.shell) is not None

    @property
    def page(self) -> Page:
        """The drawings; none has been shown before this is first asked for."""
        if self._page is None:
            from dynamo_nb.notebook.drawings import Page

            self._page = Page(self)
        return self._page

    @cached_property
    def actions(self) -> Actions:
        from dynamo_nb.notebook.actions import Actions

        return Actions(self)

    def show(self, of: str | Deployment) -> None:
        """Displays a service's graph, or a deployment; the drawing follows."""
        self.page.show(of, cell=self.cell, live=self.on_page)

    @property
    def services(self) -> dict[str, type]:
        """The services that the notebook has names for, less those of what its cells showed."""
        return {n: v for n, v in self.names.items() if is_service(v) and not _OUTPUT.fullmatch(n)}

    def service(self, name: str) -> type:
        """A service among the notebook's names."""
        value = self.shell.user_ns.get(name)
        if not is_service(value):
            raise TargetError(f"this notebook has no service {name!r}", remedy=suggestion(name, self.services))
        return value  # type: ignore[no-any-return]


def _warm(on_page: bool) -> None:
    """Imports what drawing and serving need, while whoever defined a service writes the next cell."""
    with suppress(ImportError):  # whoever asks for it hears of it
        for module in (
            "pygraphviz",
            "dynamo_nb.notebook.verb_host",
            *(["dynamo_nb.notebook.drawings"] if on_page else []),
        ):
            import_module(module)


def _asked_cell(shell: Any) -> str | None:
    """The id of the cell that a kernel was asked to run; None where front ends name none."""
    return _metadata(shell).get("cellId")


def _metadata(shell: Any) -> dict[str, Any]:
    """What the front end says with the request that runs now."""
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    return parent.get("metadata", {})  # type: ignore[no-any-return]


def _pids(deployment: Deployment, service: str) -> list[int]:
    found = deployment.status.services.get(service)
    return [worker.pid for worker in found.workers] if found is not None else []
