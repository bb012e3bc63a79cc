"""Expectations of a measured number."""

from __future__ import annotations

import math

from dynamo_nb.errors import BaselineError
from dynamo_nb.regress.baseline import MISSING
from dynamo_nb.regress.baselined import CREATE, FIX
from dynamo_nb.regress.outcome import Outcome
from dynamo_nb.regress.recorder import Recorder


class NumberExpectation:
    """An expectation of a measured number.

    Args:
        name: Its name.
        value: The number.
        recorder: Records the outcome.
        by_machine: True to keep one baseline for each machine class.

    Raises:
        BaselineError: The value is not a number.
    """

    def __init__(self, name: str, value: float, recorder: Recorder, *, by_machine: bool) -> None:
        self._name, self._recorder, self._by_machine = name, recorder, by_machine
        try:
            self._value = float(value)
        except (TypeError, ValueError):
            raise BaselineError(f"{name!r} is not a number but {value!r:.80}", where="expect.number") from None
        self._stored = value if type(value) is int else self._value
        self._relative = 0.0
        recorder.begin_check(self, name)

    def within(self, relative: float) -> NumberExpectation:
        """Sets the tolerance.

        Args:
            relative: Allowed difference as a share: 0.10 allows 10 % more or less.
        """
        self._relative = relative
        return self

    def of_baseline(self) -> bool:
        """Expects that the number equals its baseline within the tolerance.

        Returns:
            True if it does. In an open notebook, also without a baseline.

        Raises:
            BaselineError: The number is NaN or infinite, the baseline file cannot be read, or the name is taken.
        """
        self._recorder.end_check(self)
        baseline = self._recorder.baseline(self._name, by_machine=self._by_machine)
        what = f"within {100 * self._relative:g} % of its baseline"
        if baseline is MISSING:
            self._recorder.change("create", self._name, self._stored, by_machine=self._by_machine)
            return self._record(what, not self._recorder.in_run, "none", CREATE)
        if isinstance(baseline, bool) or not isinstance(baseline, int | float):
            raise BaselineError(
                f"the baseline of {self._name!r} is not a number", where=str(self._recorder.baselines.path)
            )
        if not self._is_near(baseline):
            self._recorder.change("fix", self._name, self._stored, by_machine=self._by_machine)
            return self._record(what, False, f"{baseline:g}", f"{self._change_from(baseline)}\n{FIX}")
        if self._stored != baseline:
            self._recorder.change("update", self._name, self._stored, by_machine=self._by_machine)
        return self._record(what, True)

    def of(self, other: float) -> bool:
        """Expects that the number equals another one within the tolerance. Returns True if it does."""
        self._recorder.end_check(self)
        what = f"within {100 * self._relative:g} % of {other:g}"
        return self._record(what, self._is_near(other), note=self._change_from(other))

    def at_most(self, limit: float) -> bool:
        """Expects a number up to `limit`. NaN fails. Returns True if it passes."""
        self._recorder.end_check(self)
        return self._record(f"at most {limit:g}", self._value <= limit)

    def at_least(self, limit: float) -> bool:
        """Expects a number from `limit` on. NaN fails. Returns True if it passes."""
        self._recorder.end_check(self)
        return self._record(f"at least {limit:g}", self._value >= limit)

    def _is_near(self, other: float) -> bool:
        return abs(self._value - other) <= self._relative * abs(other)

    def _change_from(self, other: float) -> str:
        if not other or not math.isfinite(self._value / other):
            return ""
        share = self._value / other - 1
        return f"{abs(100 * share):.3g} % {'more' if share > 0 else 'less'}"

    def _record(self, what: str, passed: bool, expected: str = "", note: str = "") -> bool:
        value = f"{self._value:g}"
        self._recorder.record(Outcome(self._name, passed, what, value=value, expected=expected, note=note))
        return passed
