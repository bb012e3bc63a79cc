"""Runs cases, several at a time. Each has its own process, working folder and state directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import msgspec

from dynamo_nb.errors import BaselineError, DynamoError
from dynamo_nb.regress.baseline import Baselines, baseline_path
from dynamo_nb.regress.case import Case
from dynamo_nb.regress.cell_report import read_cells
from dynamo_nb.regress.change import CATEGORIES, Category, Change, Key
from dynamo_nb.regress.gpu_slots import gpu_slots
from dynamo_nb.regress.machine import machine_class
from dynamo_nb.regress.private_state import PrivateState
from dynamo_nb.regress.recorder import RESULTS, RUN, VARIABLE, Record, Run
from dynamo_nb.regress.result import CaseResult, TestResult
from dynamo_nb.regress.run_case import ERROR, JOB, Job

STOP_LIMIT: Final = 20.0  # seconds for an interrupted case to save its notebook
POLL: Final = 0.1  # seconds between two checks of a case
_LOG: Final = "log.txt"


@dataclass(frozen=True)
class TestOptions:
    """Options of a run of notebooks.

    Attributes:
        jobs: Number of notebooks that run at the same time.
        update: Categories of changes that are written to the baseline files.
        cell_timeout: Seconds for a cell; None for no limit.
        notebook_timeout: Seconds for a notebook; None for no limit.
        keep_going: True to run the cells after a failed cell that do not need it.
        kernel: Name of the kernel; "" for the kernel in each notebook.
        report: Folder for the executed notebooks.
    """

    __test__ = False

    jobs: int = 1
    update: Collection[Category] = ()
    cell_timeout: float | None = 600.0
    notebook_timeout: float | None = 3600.0
    keep_going: bool = False
    kernel: str = ""
    report: Path = Path("build/notebooks")

    def __post_init__(self) -> None:
        if unknown := [category for category in self.update if category not in CATEGORIES]:
            raise DynamoError(
                f"{unknown[0]!r} is not a category of changes",
                where="--update",
                remedy=f"use some of {', '.join(CATEGORIES)}",
            )
        if self.jobs < 1:
            raise DynamoError("at least one notebook runs at a time", where="-j")


class Runner:
    """Runs cases.

    Args:
        options: See TestOptions.
        progress: Called often with each running case, the label of its running cell, and the number of ended cells.
    """

    def __init__(self, options: TestOptions, progress: Callable[[Case, str, int], None] | None = None) -> None:
        self._options, self._progress = options, progress or (lambda *_: None)
        self._interrupted = threading.Event()
        self._slots: SimpleQueue[dict[str, str]] = SimpleQueue()
        slots = gpu_slots(options.jobs)
        self._jobs = len(slots)
        for slot in slots:
            self._slots.put(slot)

    def interrupt(self) -> None:
        """Ends the running cases, and starts no others. Any thread may call it."""
        self._interrupted.set()

    def run(self, cases: Sequence[Case], done: Callable[[CaseResult], None] | None = None) -> TestResult:
        """Runs cases.

        Args:
            cases: The cases.
            done: Called with the result of each case at its end, from any thread.

        Returns:
            The results, in the order of the cases.
        """
        began = time.monotonic()
        results: dict[int, CaseResult] = {}
        names = _output_names(cases)

        def work(number: int) -> None:
            case = cases[number]
            if self._interrupted.is_set():
                results[number] = CaseResult(case, error="not run: the run was interrupted", interrupted=True)
                return
            slot = self._slots.get()
            try:
                result = self._run(case, self._options.report / names[number], slot)
            finally:
                self._slots.put(slot)
            results[number] = result
            if done is not None:
                done(result)

        with ThreadPoolExecutor(self._jobs) as pool:
            futures = [pool.submit(work, number) for number in range(len(cases))]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                self.interrupt()
                raise
        found = [results[number] for number in range(len(cases))]
        return TestResult(found, time.monotonic() - began, self._interrupted.is_set())

    # --- one case ---------------------------------------------------------------------------------------------------

    def _run(self, case: Case, output: Path, slot: dict[str, str]) -> CaseResult:
        began = time.monotonic()
        state = PrivateState()
        folder = state.path / "run"
        folder.mkdir()
        error, interrupted = "", False
        try:
            baselines = Baselines(baseline_path(case.notebook))  # fail before the notebook runs
            output.parent.mkdir(parents=True, exist_ok=True)
            error, interrupted = self._execute(case, folder, output, os.environ | slot | state.environment)
        except (DynamoError, OSError) as failure:
            error, baselines = str(failure), None
        cells, records = read_cells(folder), _records(folder)
        leftovers = state.end()
        result = CaseResult(
            case,
            seconds=time.monotonic() - began,
            cells=cells,
            outcomes=[record.outcome for record in records if record.outcome is not None],
            error=error,
            leftovers=leftovers,
            output=output if output.exists() else None,
            interrupted=interrupted,
        )
        return result if baselines is None else self._with_changes(result, records, baselines)

    def _execute(self, case: Case, folder: Path, output: Path, environment: dict[str, str]) -> tuple[str, bool]:
        """Runs the process of a case. Returns the reason of a failure outside of the cells, and True if interrupted."""
        work = folder / "work"
        work.mkdir()
        _link_files(case.notebook.parent, work)
        options = self._options
        engine: dict[str, Any] = {
            "cell_timeout": options.cell_timeout,
            "notebook_timeout": options.notebook_timeout,
            "keep_going": options.keep_going,
        }
        parameters = dict(case.parameters)
        notebook = str(case.notebook.resolve())
        job = Job(notebook, str(output.resolve()), str(work), parameters, options.kernel, engine)
        (folder / JOB).write_bytes(msgspec.json.encode(job))
        (folder / RUN).write_bytes(msgspec.json.encode(Run(notebook, parameters, machine_class())))
        environment = environment | {VARIABLE: str(folder)}
        with (folder / _LOG).open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dynamo_nb.regress.run_case", str(folder)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # an interrupt in the terminal reaches the runner alone
            )
            interrupted = self._wait(process, case, folder)
        if (folder / ERROR).exists():
            return (folder / ERROR).read_text(), interrupted
        if process.returncode not in (0, 1):
            last = (folder / _LOG).read_text(errors="replace").strip().splitlines()[-5:]
            return "\n".join([f"its process ended with {_status(process.returncode)}", *last]), interrupted
        failed = any(cell.outcome != "passed" for cell in read_cells(folder))
        if process.returncode and not failed:
            return "papermill reports an error of a cell that passed", interrupted
        return "", interrupted

    def _wait(self, process: subprocess.Popen[bytes], case: Case, folder: Path) -> bool:
        """Waits for a process, and stops it at an interrupt or at its timeout. Returns True if interrupted."""
        limit = self._options.notebook_timeout
        end = None if limit is None else time.monotonic() + limit + STOP_LIMIT
        stopped: float | None = None
        interrupted = False
        while process.poll() is None:
            cells = read_cells(folder)
            running = [cell.cell for cell in cells if cell.outcome == "running"]
            self._progress(case, running[-1] if running else "", len(cells) - len(running))
            now = time.monotonic()
            if stopped is None and (self._interrupted.is_set() or (end is not None and now > end)):
                interrupted, stopped = self._interrupted.is_set(), now
                process.send_signal(signal.SIGTERM)
            elif stopped is not None and now > stopped + STOP_LIMIT:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL)
        return interrupted

    def _with_changes(self, result: CaseResult, records: Sequence[Record], baselines: Baselines) -> CaseResult:
        """Adds the changes of baselines, and writes the changes of the chosen categories."""
        changes = {(change.name, str(change.key)): change for r in records if (change := r.change) is not None}
        used: dict[str, list[Key]] = {}
        for record in records:
            if record.used is not None:
                used.setdefault(record.used[0], []).append(record.used[1])
        found: list[Change] = list(changes.values())
        if result.cells and all(cell.outcome == "passed" for cell in result.cells) and not result.error:
            found += baselines.unused(used, result.case.parameters, machine_class())
        chosen = [change for change in found if change.category in self._options.update]
        if not chosen:
            return replace(result, changes=found)
        try:
            with _WRITING:  # cases of one notebook write the same file
                Baselines(baselines.path).apply(chosen)
        except (BaselineError, OSError) as error:
            return replace(result, changes=found, error=f"{result.error}\n{error}".strip())
        return replace(result, changes=found, applied=chosen)


_WRITING: Final = threading.Lock()


def _records(folder: Path) -> list[Record]:
    path = folder / RESULTS
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [msgspec.json.decode(line, type=Record) for line in lines if line.endswith(b"\n")]


def _link_files(source: Path, target: Path) -> None:
    """Links the files in a notebook's folder into its working folder. New files stay in the working folder."""
    for path in source.resolve().iterdir():
        if path.suffix != ".ipynb" and not path.name.startswith("."):
            (target / path.name).symlink_to(path)


def _output_names(cases: Sequence[Case]) -> list[Path]:
    """The names of the executed notebooks: the notebook's name, its parameters, and a number for equal names."""
    found: list[Path] = []
    for case in cases:
        values = "".join(f"-{name}={value}" for name, value in case.parameters.items())
        safe = "".join(char if char.isalnum() or char in "-=._" else "_" for char in values)[:80]
        name = Path(f"{case.notebook.stem}{safe}.ipynb")
        number = 2
        while name in found:
            name = Path(f"{case.notebook.stem}{safe}-{number}.ipynb")
            number += 1
        found.append(name)
    return found


def _status(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
