"""Runs the cells of a notebook in a kernel, and reports the outcome of each cell."""

from __future__ import annotations

import time
from queue import Empty
from typing import Any, Final

import nbformat
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbclient.util import ensure_async, run_sync
from papermill.clientwrap import PapermillNotebookClient

from dynamo_nb.regress.cell_graph import needed_by
from dynamo_nb.regress.cell_report import CellReport
from dynamo_nb.regress.high_water import HighWater
from dynamo_nb.regress.private_state import PrivateState

INTERRUPT_LIMIT: Final = 5  # seconds for an interrupted cell to end
NOT_RUN: Final = "skipped"  # the status of a cell that did not run; papermill has no such status


class CellRunner(PapermillNotebookClient):  # type: ignore[misc] # papermill has no types
    """Runs cells until one fails.

    Args:
        nb_man: Papermill's state of the notebook.
        state: The state directory of the notebook's deployments; None if it is not known.
        report: Receives the outcome of each cell.
        keep_going: True to run the cells after a failed cell that do not need it.
        options: Options of papermill's client.
    """

    def __init__(
        self, nb_man: Any, state: PrivateState | None, report: CellReport, *, keep_going: bool, **options: Any
    ) -> None:
        super().__init__(nb_man, **options)
        self._state, self._report, self._keep_going = state, report, keep_going
        self._cell_limit: float | None = None
        self._end: float | None = None
        self._late = ""
        self._stopped = ""

    def set_limits(self, cell: float | None, notebook: float | None) -> None:
        """Sets time limits.

        Args:
            cell: Seconds for each cell; None for no limit.
            notebook: Seconds for all cells; None for no limit.
        """
        self._cell_limit = cell
        self._end = None if notebook is None else time.monotonic() + notebook
        self.timeout_func = self._limit

    def _limit(self, _: Any) -> int | None:
        left = None if self._end is None else max(self._end - time.monotonic(), 0.001)
        limits = [limit for limit in (self._cell_limit, left) if limit is not None]
        return min(limits, default=None)  # type: ignore[return-value] # nbclient passes it to a clock

    def execute(self, **kwargs: Any) -> Any:
        """Runs the notebook. Called by the engine."""
        try:
            return super().execute(**kwargs)
        except DeadKernelError:  # papermill asks the kernel for its language at the end
            if not self._stopped:
                raise
            return self.nb

    def papermill_execute_cells(self) -> None:
        """Runs the cells. Called by papermill."""
        code = [index for index, cell in enumerate(self.nb.cells) if cell.cell_type == "code" and cell.source.strip()]
        texts = [self.nb.cells[index].source for index in code]
        failed: list[int] = []
        for index, cell in enumerate(self.nb.cells):
            if index not in code:
                self.nb_man.cell_start(cell, index)
                self.nb_man.cell_complete(cell, cell_index=index)
                continue
            position = code.index(index)
            reason = self._stopped
            if failed and not self._stopped:
                needed = needed_by(texts, failed).get(position)
                reason = f"cell {needed + 1}" if needed is not None else "" if self._keep_going else "not asked for"
            if reason:
                self._skip(cell, position, reason)
                continue
            outcome = self._run(cell, index, position)
            if outcome != "passed":
                failed.append(position)
            if outcome == "ended":
                self._stopped = f"cell {position + 1}"
                run_sync(self.km.shutdown_kernel)(now=True)  # a busy kernel would never answer papermill

    def _run(self, cell: Any, index: int, position: int) -> str:
        """Runs one cell. Returns "passed", "failed", or "ended" if no cell can run after it."""
        label, outcome, what, began = f"cell {position + 1}", "passed", "", time.monotonic()
        self._report.started(label, cell.source)
        with HighWater(self._pids) as water:
            try:
                self.nb_man.cell_start(cell, index)
                self.execute_cell(cell, index)
                if self._late:  # it caught the interrupt
                    outcome, what = "failed", self._late
            except CellExecutionError as error:
                outcome, what = "failed", self._late or f"{error.ename}: {error.evalue}"
                if error.ename == "SystemExit":
                    outcome, what = "ended", f"it called sys.exit({error.evalue}), so the cells after it did not run"
            except CellTimeoutError:
                outcome, what = "ended", f"{self._late}, and did not end when it was interrupted"
            except DeadKernelError:
                outcome, what = "ended", self._death()
            finally:
                self._late = ""
        if outcome != "passed":
            self._explain(cell, what)
            self.nb_man.cell_exception(cell, cell_index=index)
        self._report.ended(label, outcome, what, seconds=time.monotonic() - began, memory=water.memory, gpu=water.gpu)
        self.nb_man.cell_complete(cell, cell_index=index)
        return outcome

    def _pids(self) -> list[int]:
        provisioner = getattr(self.km, "provisioner", None)
        pid = getattr(provisioner, "pid", None)
        return [pid] if isinstance(pid, int) else []

    def _death(self) -> str:
        process = getattr(getattr(self.km, "provisioner", None), "process", None)
        code = process.poll() if process is not None else None
        how = "" if code is None else f": killed by signal {-code}" if code < 0 else f": exit status {code}"
        return f"the kernel died{how}"

    async def _async_handle_timeout(self, timeout: float, cell: Any = None) -> Any:
        """Interrupts a cell at its timeout, so that its traceback shows the position. Called by nbclient."""
        over = self._end is not None and time.monotonic() >= self._end
        self._late = "the time of the notebook is over" if over else f"the cell ran longer than {timeout:g} s"
        await ensure_async(self.km.interrupt_kernel())
        try:
            return await ensure_async(self.kc.shell_channel.get_msg(timeout=INTERRUPT_LIMIT))
        except Empty:
            raise CellTimeoutError.error_from_timeout_and_cell(self._late, timeout, cell) from None

    def _explain(self, cell: Any, what: str) -> None:
        """Adds the reason of the failure and the last log lines of the workers to the output of a failed cell."""
        if not any(output.output_type == "error" for output in cell.outputs):
            cell.outputs.append(nbformat.v4.new_output("error", ename="CellFailed", evalue=what, traceback=[what]))
        for worker, text in (self._state.log_tails() if self._state is not None else {}).items():
            shown = f"the last lines of {worker}:\n{text}\n"
            cell.outputs.append(nbformat.v4.new_output("stream", name="stderr", text=shown))

    def _skip(self, cell: Any, position: int, reason: str) -> None:
        because = f"not run because of {reason}" if reason.startswith("cell ") else "not run"
        cell.outputs = [nbformat.v4.new_output("stream", name="stderr", text=f"{because}\n")]
        cell.metadata.papermill["status"] = NOT_RUN
        self._report.ended(f"cell {position + 1}", "not run", because)
