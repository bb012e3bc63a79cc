"""Records the outcomes of expectations. A cell fails after its last line if one of its expectations failed.

A cell of a notebook runs to its end, so that all of its expectations are reported. In a program without cells, a failed
expectation raises at once.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from dynamo_nb.errors import BaselineError
from dynamo_nb.regress.baseline import MISSING, Baselines, baseline_path, check_plain
from dynamo_nb.regress.change import Category, Change, Key
from dynamo_nb.regress.machine import machine_class
from dynamo_nb.regress.outcome import ExpectationFailed, Outcome

VARIABLE: Final = "DYNAMO_REGRESS"
"""Environment variable with the folder of a run. The runner writes `run.json`, the kernel writes `results.jsonl`."""
RUN: Final = "run.json"
RESULTS: Final = "results.jsonl"


class Run(msgspec.Struct, frozen=True, omit_defaults=True):
    """The description of a run of a notebook. The runner writes it for the kernel.

    Attributes:
        notebook: Path of the notebook.
        parameters: The parameters that the run sets.
        machine: The machine class.
    """

    notebook: str
    parameters: dict[str, Any] = {}
    machine: str = ""


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of RESULTS. used: name and key of a baseline that an expectation used."""

    outcome: Outcome | None = None
    change: Change | None = None
    used: tuple[str, Key] | None = None


class Recorder:
    """The expectations of this process.

    Attributes:
        pending: Changes of baselines that are not approved yet.
    """

    def __init__(self) -> None:
        folder = os.environ.get(VARIABLE)
        self._folder = Path(folder) if folder else None
        self._run = msgspec.json.decode((self._folder / RUN).read_bytes(), type=Run) if self._folder else None
        self._baselines: Baselines | None = None
        self._baseline_file: Path | None = None
        self._failed: list[Outcome] = []
        # By id of the expectation, which is kept: the id of a deleted object is used again.
        self._unchecked: dict[int, tuple[object, Outcome]] = {}
        self._names: dict[str, str] = {}
        self._hooked: Any = None
        self.pending: list[Change] = []

    @property
    def in_run(self) -> bool:
        """True in a run of `dynamo test`; False in an open notebook or a program."""
        return self._run is not None

    # --- baselines --------------------------------------------------------------------------------------------------

    def set_baseline_file(self, path: Path) -> None:
        """Sets the baseline file, for notebooks whose path is not known.

        Args:
            path: The file.
        """
        self._baseline_file, self._baselines = path, None

    @property
    def baselines(self) -> Baselines:
        """The baselines of the notebook. The file is read at the first use.

        Raises:
            BaselineError: The path of the notebook is not known, or the file is not a baseline file.
        """
        if self._baselines is None:
            self._baselines = Baselines(self._baseline_file or baseline_path(self._notebook()))
        return self._baselines

    def _notebook(self) -> Path:
        if self._run is not None:
            return Path(self._run.notebook)
        shell = _shell()
        by_editor = shell.user_ns.get("__vsc_ipynb_file__", "") if shell is not None else ""
        name = by_editor or os.environ.get("JPY_SESSION_NAME", "")
        path = Path(name)
        if not path.is_file():
            path = Path.cwd() / path.name  # the path is relative to the folder of the server
        if not name or not path.is_file():
            raise BaselineError(
                "the path of this notebook is not known, so its baseline file is not known",
                remedy='set expect.baseline_file = "name.baseline.yaml"',
            )
        return path

    def key(self, *, by_machine: bool) -> Key:
        """Returns the key of this process's baselines.

        Args:
            by_machine: True for a value with one baseline for each machine class.
        """
        parameters = self._run.parameters if self._run is not None else {}
        if not by_machine:
            return Key(parameters)
        return Key(parameters, (self._run.machine if self._run is not None else "") or machine_class())

    def baseline(self, name: str, *, by_machine: bool = False) -> Any:
        """Returns the baseline of a value, or MISSING.

        Args:
            name: Name of the value.
            by_machine: See `key`.

        Raises:
            BaselineError: Another expectation has the same name, or the file cannot be read.
        """
        key, here = self.key(by_machine=by_machine), self._cell()
        earlier = self._names.get(name)
        if earlier is not None:
            raise BaselineError(
                f"two expectations have the name {name!r}",
                where=here if earlier == here else f"{earlier} and {here}",
                remedy="set different names: name=…",
            )
        found = self.baselines.find(name, key)
        self._names[name] = here
        self._write(Record(used=(name, key)))
        return found

    def change(self, category: Category, name: str, after: Any, *, by_machine: bool = False) -> Change:
        """Records a change of a baseline.

        Args:
            category: See CATEGORIES.
            name: Name of the value.
            after: The new value.
            by_machine: See `key`.

        Returns:
            The change.

        Raises:
            BaselineError: The value cannot be a baseline.
        """
        check_plain(after, repr(name))
        key = self.key(by_machine=by_machine)
        before = self.baselines.find(name, key)
        found = Change(category, name, key, None if before is MISSING else before, after, self._cell())
        self.pending = [c for c in self.pending if (c.name, c.key) != (name, key)] + [found]
        self._write(Record(change=found))
        return found

    def accept(self, changes: list[Change]) -> None:
        """Writes approved changes to the baseline file.

        Args:
            changes: Some of `pending`.
        """
        self.baselines.apply(changes)
        self.pending = [change for change in self.pending if change not in changes]

    # --- outcomes ---------------------------------------------------------------------------------------------------

    def begin_check(self, token: object, source: str) -> None:
        """Records that an expectation has no check yet.

        Args:
            token: The expectation.
            source: Its name, or the source text of its expression.
        """
        if self._watch_cell():
            note = "compare it: expect(x) == 3"
            outcome = Outcome(source, False, "a check", self._cell(), value="none", note=note)
            self._unchecked[id(token)] = token, outcome

    def end_check(self, token: object) -> None:
        """Records that an expectation has its check.

        Args:
            token: The expectation.
        """
        self._unchecked.pop(id(token), None)

    def record(self, outcome: Outcome) -> None:
        """Records an outcome.

        Args:
            outcome: The outcome, without its cell.

        Raises:
            ExpectationFailed: It failed, and no cell of a notebook is running.
        """
        outcome = msgspec.structs.replace(outcome, cell=self._cell())
        self._write(Record(outcome=outcome))
        if outcome.passed:
            return
        if not self._watch_cell():
            raise ExpectationFailed([outcome])
        self._failed.append(outcome)

    def _write(self, record: Record) -> None:
        if self._folder is not None:
            with (self._folder / RESULTS).open("ab") as file:  # complete even if the kernel is killed now
                file.write(msgspec.json.encode(record) + b"\n")

    def _cell(self) -> str:
        shell = _shell()
        # The shell's own count is one higher while a cell runs, from IPython 9 on.
        return f"cell {len(shell.history_manager.input_hist_raw) - 1}" if shell is not None else ""

    def _watch_cell(self) -> bool:
        """Registers the hooks for the end of the running cell. Returns False outside of IPython."""
        shell = _shell()
        if shell is None:
            return False
        if self._hooked is not shell:
            self._hooked = shell
            shell.events.register("pre_run_cell", self._before_cell)
            shell.events.register("post_run_cell", self._after_cell)
        return True

    def _before_cell(self, _: Any) -> None:
        if not self.in_run:  # a cell of an open notebook may run again
            self._names.clear()

    def _after_cell(self, result: Any) -> None:
        unchecked = [outcome for _, outcome in self._unchecked.values()]
        for outcome in unchecked:
            self._write(Record(outcome=outcome))
        failed = [*self._failed, *unchecked]
        self._failed.clear()
        self._unchecked.clear()
        if not failed:
            return
        error = ExpectationFailed(failed)
        if result.success:  # as if the cell had raised it: papermill and "run all" stop here
            result.error_in_exec = error
        self._hooked.showtraceback((type(error), error, None))


def _shell() -> Any:
    """The IPython shell of this process, or None."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None


@cache
def recorder() -> Recorder:
    """Returns the recorder of this process."""
    return Recorder()
