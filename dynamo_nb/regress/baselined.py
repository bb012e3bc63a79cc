"""Expectations of values that must equal their baselines: texts, tables and graphs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dynamo_nb.errors import BaselineError
from dynamo_nb.regress.baseline import MISSING
from dynamo_nb.regress.outcome import Outcome, shown
from dynamo_nb.regress.recorder import Recorder

CREATE = "there is no baseline: `dynamo test --update create`, or expect.accept(), stores this value"
FIX = "if the value is right: `dynamo test --update fix`, or expect.accept(), stores it"


class _Baselined:
    """An expectation that compares a value with its baseline, both as plain data.

    Args:
        value: The value.
        name: Its name.
        recorder: Records the outcome.
    """

    def __init__(self, value: Any, name: str, recorder: Recorder) -> None:
        self._value, self._name, self._recorder = value, name, recorder
        recorder.begin_check(self, name)

    def _plain(self) -> Any:
        """The value as plain data."""
        raise NotImplementedError

    def _equal(self, value: Any, baseline: Any) -> bool:
        return bool(value == baseline) and type(value) is type(baseline)

    def matches_baseline(self) -> bool:
        """Expects that the value equals its baseline.

        Returns:
            True if it does. In an open notebook, also without a baseline.

        Raises:
            BaselineError: The baseline file cannot be read, the value cannot be stored, or its name is taken.
        """
        self._recorder.end_check(self)
        value, baseline = self._plain(), self._recorder.baseline(self._name)
        passed, note, expected = True, "", ""
        if baseline is MISSING:
            self._recorder.change("create", self._name, value)
            passed, note, expected = not self._recorder.in_run, CREATE, "none"
        elif not self._equal(value, baseline):
            self._recorder.change("fix", self._name, value)
            passed, note, expected = False, FIX, shown(_as_text(baseline))
        elif value != baseline or repr(value) != repr(baseline):
            self._recorder.change("update", self._name, value)
        self._recorder.record(
            Outcome(self._name, passed, "its baseline", value=shown(_as_text(value)), expected=expected, note=note)
        )
        return passed


class TextBaseline(_Baselined):
    """An expectation of a text."""

    def _plain(self) -> str:
        if not isinstance(self._value, str):
            raise BaselineError(f"{self._name} is not a text but {shown(self._value)}", where="expect.text")
        return self._value


class TableBaseline(_Baselined):
    """An expectation of a table."""

    _relative = 0.0

    def within(self, relative: float) -> TableBaseline:
        """Sets the tolerance of numbers.

        Args:
            relative: Allowed difference as a share of the baseline: 0.10 allows 10 % more or less.
        """
        self._relative = relative
        return self

    def _plain(self) -> list[dict[str, Any]]:
        value = self._value
        if hasattr(value, "to_dict") and hasattr(value, "columns"):
            value = value.to_dict(orient="records")
        if isinstance(value, Mapping):
            columns = {name: list(items) for name, items in value.items()}
            if len({len(items) for items in columns.values()}) > 1:
                raise BaselineError("the columns have different lengths", where=f"expect.table: {self._name}")
            value = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        if not isinstance(value, list) or not all(isinstance(row, Mapping) for row in value):
            raise BaselineError(f"{self._name} is not a table", where="expect.table", remedy="pass rows as dicts")
        return [{str(name): _scalar(item) for name, item in row.items()} for row in value]

    def _equal(self, value: Any, baseline: Any) -> bool:
        return (
            isinstance(baseline, list)
            and len(value) == len(baseline)
            and all(
                isinstance(other, dict)
                and row.keys() == other.keys()
                and all(self._near(item, other[name]) for name, item in row.items())
                for row, other in zip(value, baseline, strict=True)
            )
        )

    def _near(self, value: Any, baseline: Any) -> bool:
        numbers = isinstance(value, int | float) and isinstance(baseline, int | float)
        if numbers and not isinstance(value, bool) and not isinstance(baseline, bool):
            return bool(abs(value - baseline) <= self._relative * abs(baseline))
        return type(value) is type(baseline) and bool(value == baseline)


class GraphBaseline(_Baselined):
    """An expectation of a graph."""

    def _plain(self) -> str:
        from dynamo_nb.graph import Graph

        value = self._value
        found = getattr(value, "graph", value)
        graph = found if isinstance(found, Graph) else Graph.of(found)
        return str(graph) + "\n"


def _scalar(item: Any) -> Any:
    """Converts a number of numpy to a number of Python."""
    return item.item() if hasattr(item, "item") and not getattr(item, "ndim", 0) else item


def _as_text(value: Any) -> Any:
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        return "\n".join(", ".join(f"{name}={item!r}" for name, item in row.items()) for row in value) + "\n"
    return value
