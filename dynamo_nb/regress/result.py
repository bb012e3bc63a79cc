"""The results of a test run, as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamo_nb.observe.units import duration, memory
from dynamo_nb.regress.case import Case
from dynamo_nb.regress.cell_report import CellOutcome
from dynamo_nb.regress.change import CATEGORIES, Change
from dynamo_nb.regress.outcome import Outcome

if TYPE_CHECKING:
    import pandas as pd


class ExitCode(IntEnum):
    """The exit codes of `dynamo test`. They are equal to those of pytest."""

    PASSED = 0
    FAILED = 1
    INTERRUPTED = 2
    INTERNAL_ERROR = 3
    USAGE_ERROR = 4
    NOTHING_COLLECTED = 5


@dataclass(frozen=True)
class CaseResult:
    """The result of one case.

    Attributes:
        case: The case.
        seconds: Its duration in seconds.
        cells: The outcome of each cell.
        outcomes: The outcomes of the expectations.
        changes: The changes of baselines that the run suggests.
        applied: The changes that were written.
        error: The reason of a failure outside of the cells; else "".
        leftovers: Deployments and processes that the notebook did not end. The runner ended them.
        output: The executed notebook.
        interrupted: True if the run was interrupted.
    """

    case: Case
    seconds: float = 0.0
    cells: Sequence[CellOutcome] = ()
    outcomes: Sequence[Outcome] = ()
    changes: Sequence[Change] = ()
    applied: Sequence[Change] = ()
    error: str = ""
    leftovers: Sequence[str] = ()
    output: Path | None = None
    interrupted: bool = False

    @property
    def failed_cells(self) -> list[CellOutcome]:
        """The cells that failed."""
        return [cell for cell in self.cells if cell.outcome in {"failed", "ended", "running"}]

    @property
    def passed(self) -> bool:
        """True if every cell passed, and nothing was running at the end."""
        failed = [cell for cell in self.failed_cells if not self._is_resolved(cell)]
        return not (failed or self.error or self.leftovers or self.interrupted)

    def _is_resolved(self, cell: CellOutcome) -> bool:
        """True if the cell failed only because of baselines that were written after the run."""
        failed = [outcome for outcome in self.outcomes if outcome.cell == cell.cell and not outcome.passed]
        written = {change.name for change in self.applied if change.category in {"create", "fix"}}
        return bool(failed) and cell.what.startswith("ExpectationFailed") and {o.name for o in failed} <= written

    @property
    def outcome(self) -> str:
        """`passed`, `failed` or `interrupted`."""
        return "passed" if self.passed else "interrupted" if self.interrupted else "failed"

    def __str__(self) -> str:
        highest = max((cell.memory for cell in self.cells), default=0)
        figures = [duration(self.seconds), *([memory(highest)] if highest else [])]
        lines = [f"{self.outcome:<11} {self.case.name}  ({', '.join(figures)})"]
        if self.error:
            lines.append(f"  {self.error}".replace("\n", "\n  "))
        for cell in self.failed_cells:
            if self._is_resolved(cell):
                continue
            failed = [outcome for outcome in self.outcomes if outcome.cell == cell.cell and not outcome.passed]
            what = cell.what.splitlines()[0] if cell.what else "did not end"
            lines.append(f"  {cell.cell}, {cell.title!r}: {what}")
            lines += [f"    {line}" for outcome in failed for line in str(outcome).splitlines()]
        if not_run := [cell for cell in self.cells if cell.outcome == "not run"]:
            lines.append(f"  not run: {', '.join(cell.cell for cell in not_run)}")
        lines += [f"  not ended by the notebook: {line}" for line in self.leftovers]
        for change in self.changes:
            state = "written" if change in self.applied else f"--update {change.category} writes it"
            key = f" [{change.key}]" if str(change.key) else ""
            lines.append(f"  baseline {change.name}{key}: {_change_text(change)} ({state})")
        return "\n".join(lines)


def _change_text(change: Change) -> str:
    if change.category == "create":
        return f"new: {change.after!r:.80}"
    if change.category == "trim":
        return f"not used any more: {change.before!r:.80}"
    return f"{change.before!r:.60} → {change.after!r:.60}"


@dataclass(frozen=True, repr=False)
class TestResult:
    """The result of a test run.

    Attributes:
        cases: The result of each case.
        seconds: The duration of the run in seconds.
        interrupted: True if the run was interrupted.
    """

    __test__ = False  # for pytest

    cases: Sequence[CaseResult]
    seconds: float = 0.0
    interrupted: bool = field(default=False)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the run."""
        if self.interrupted:
            return ExitCode.INTERRUPTED
        if not self.cases:
            return ExitCode.NOTHING_COLLECTED
        return ExitCode.PASSED if all(case.passed for case in self.cases) else ExitCode.FAILED

    @property
    def changes(self) -> dict[str, int]:
        """The number of changes of baselines by category, without those that were written."""
        left = [change.category for case in self.cases for change in case.changes if change not in case.applied]
        return {category: left.count(category) for category in CATEGORIES if category in left}

    @property
    def line(self) -> str:
        """The numbers of outcomes and changes in one line."""
        outcomes = [case.outcome for case in self.cases]
        parts = [f"{outcomes.count(name)} {name}" for name in ("failed", "interrupted", "passed") if name in outcomes]
        changes = [f"{count} to {category}" for category, count in self.changes.items()]
        baselines = f"; baselines: {', '.join(changes)}" if changes else ""
        return f"{', '.join(parts) or 'no notebook was found'} in {duration(self.seconds)}{baselines}"

    def to_frame(self) -> pd.DataFrame:
        """Returns a pandas DataFrame with a row for each cell. Requires pandas."""
        import pandas as pd

        columns = ["notebook", "parameters", "cell", "outcome", "what", "seconds", "memory", "gpu"]
        rows: list[dict[str, Any]] = [
            {
                "notebook": str(result.case.notebook),
                "parameters": dict(result.case.parameters),
                "cell": cell.cell,
                "outcome": cell.outcome,
                "what": cell.what,
                "seconds": cell.seconds,
                "memory": cell.memory,
                "gpu": cell.gpu,
            }
            for result in self.cases
            for cell in result.cells
        ]
        return pd.DataFrame(rows, columns=columns)

    def __str__(self) -> str:
        return "\n".join([*map(str, self.cases), self.line])

    __repr__ = __str__
