"""Expectations with the expected value in the code: `expect(x) == 3`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Container
from typing import Any, NoReturn

from dynamo_nb.errors import DynamoError
from dynamo_nb.regress.outcome import Outcome, shown
from dynamo_nb.regress.recorder import Recorder


class ValueExpectation:
    """The expectations of one value. Each comparison is one expectation, and returns its truth.

    Args:
        value: The value.
        source: Its expression, as the user wrote it.
        recorder: Records the outcomes.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: Any, source: str, recorder: Recorder) -> None:
        self._value, self._source, self._recorder = value, source, recorder
        recorder.begin_check(self, source)

    def _check(self, sign: str, compare: Callable[[Any, Any], Any], other: Any) -> bool:
        self._recorder.end_check(self)
        note = ""
        try:
            passed = _truth(compare(self._value, other))
        except Exception as error:  # from the user's own class, or from types that cannot be compared
            passed, note = False, f"the comparison raised {type(error).__name__}: {error}"
        if not passed and not note and _is_nan(self._value):
            note = "the value is NaN, which no comparison but != accepts"
        what = f"{sign} {shown(other)}"
        value, expected = shown(self._value), shown(other) if "\n" in shown(other) else ""
        if expected:
            what = f"{sign} this text" if isinstance(other, str) else f"{sign} this value"
        self._recorder.record(Outcome(self._source, passed, what, value=value, expected=expected, note=note))
        return passed

    def __eq__(self, other: object) -> bool:
        return self._check("==", operator.eq, other)

    def __ne__(self, other: object) -> bool:
        return self._check("!=", operator.ne, other)

    def __lt__(self, other: Any) -> bool:
        return self._check("<", operator.lt, other)

    def __le__(self, other: Any) -> bool:
        return self._check("<=", operator.le, other)

    def __gt__(self, other: Any) -> bool:
        return self._check(">", operator.gt, other)

    def __ge__(self, other: Any) -> bool:
        return self._check(">=", operator.ge, other)

    def __contains__(self, item: Any) -> bool:
        return self.contains(item)

    def contains(self, item: Any) -> bool:
        """Expects that the value contains an item, or that a text contains a part.

        Args:
            item: The item or the part.
        """
        return self._check("contains", operator.contains, item)

    def is_in(self, items: Container[Any]) -> bool:
        """Expects that the value is in a container.

        Args:
            items: The container.
        """
        return self._check("in", lambda value, others: value in others, items)

    def is_near(self, other: float, *, relative: float = 1e-6, absolute: float = 0.0) -> bool:
        """Expects a number near another one, by the rule of `math.isclose`.

        Args:
            other: The other number.
            relative: Tolerance as a share of the larger number.
            absolute: Minimum of the tolerance.
        """
        import math

        return self._check("near", lambda a, b: math.isclose(a, b, rel_tol=relative, abs_tol=absolute), other)

    def __bool__(self) -> NoReturn:
        self._recorder.end_check(self)
        raise DynamoError(
            f"expect({self._source}) has no truth value",
            where="expect",
            remedy=f"compare it, such as expect({self._source}) == True",
        )

    def __repr__(self) -> str:
        return f"expect({self._source})"


def _truth(result: Any) -> bool:
    """The truth of a comparison. For arrays and data frames: True if it is true for all elements."""
    whole = getattr(result, "all", None)
    while callable(whole) and not isinstance(result, bool):
        result = whole()
        whole = getattr(result, "all", None) if getattr(result, "ndim", 0) else None
    return bool(result)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and value != value  # noqa: PLR0124
