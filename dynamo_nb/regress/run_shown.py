"""Runs cases and shows their progress."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from dynamo_nb.observe.display import TICK, Display
from dynamo_nb.observe.units import duration
from dynamo_nb.regress.case import Case
from dynamo_nb.regress.result import TestResult
from dynamo_nb.regress.runner import Runner, TestOptions


def run_shown(cases: Sequence[Case], options: TestOptions, show: Callable[[Any], None], display: Display) -> TestResult:
    """Runs cases and shows their progress. An interrupt ends the running cases.

    Args:
        cases: The cases.
        options: Options of the run.
        show: Called with the result of each case at its end.
        display: Shows the running cases.

    Returns:
        The results, those of interrupted cases included.
    """
    progress = _Progress(len(cases))
    runner = Runner(options, progress.cell)
    with ThreadPoolExecutor(1, thread_name_prefix="notebooks") as pool:
        future = pool.submit(runner.run, cases, progress.ended)
        while not future.done():
            try:
                wait([future], TICK)
                for result in progress.take():
                    show(result)
                display.show({"text/plain": str(progress)})
            except KeyboardInterrupt:
                runner.interrupt()
    display.close({"text/plain": ""})
    for result in progress.take():
        show(result)
    return future.result()


class _Progress:
    """The running cases, as one line each."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._running: dict[str, tuple[float, str]] = {}
        self._ended: list[Any] = []
        self._lock = threading.Lock()

    def cell(self, case: Case, label: str, _: int) -> None:
        with self._lock:
            began = self._running.get(case.name, (time.monotonic(), ""))[0]
            self._running[case.name] = began, label

    def ended(self, result: Any) -> None:
        with self._lock:
            self._running.pop(result.case.name, None)
            self._done += 1
            self._ended.append(result)

    def take(self) -> list[Any]:
        with self._lock:
            ended, self._ended = self._ended, []
            return ended

    def __str__(self) -> str:
        with self._lock:
            now = time.monotonic()
            lines = [f"{self._done} of {self._total} notebooks"]
            lines += [f"  {name}: {label} ({duration(now - began)})" for name, (began, label) in self._running.items()]
            return "\n".join(lines)
