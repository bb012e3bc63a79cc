"""`expect`: expectations in ordinary cells.

    from dynamo_nb.regress import expect

    answer = await deployment.Frontend.generate("hello")
    expect(answer.finish) == "stop"
    expect.text(answer.text).matches_baseline()
    expect.number("ttft_p50_ms", ttft).within(0.10).of_baseline()

All expectations of a cell are reported. The cell fails at its end if one of them failed. In a program without cells, a
failed expectation raises at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from dynamo_nb.errors import BaselineError, DynamoError
from dynamo_nb.regress.baselined import GraphBaseline, TableBaseline, TextBaseline
from dynamo_nb.regress.change import Category
from dynamo_nb.regress.number import NumberExpectation
from dynamo_nb.regress.recorder import recorder
from dynamo_nb.regress.source_text import argument_text, is_tested_for_membership
from dynamo_nb.regress.tokens import TokensExpectation
from dynamo_nb.regress.value import ValueExpectation


class Expect:
    """Begins expectations. The only instance is `expect`."""

    def __call__(self, value: Any) -> ValueExpectation:
        """Begins an expectation of a value. A comparison completes it: `expect(x) == 3`.

        Args:
            value: Any value.

        Returns:
            The expectation.

        Raises:
            DynamoError: The code is `expect(x) in items`. Python would compare with each item.
        """
        frame = _caller()
        source = argument_text(frame) or "the value"
        if is_tested_for_membership(frame):
            raise DynamoError(
                f"`expect({source}) in …` compares with each item",
                where="expect",
                remedy=f"write expect({source}).is_in(…)",
            )
        return ValueExpectation(value, source, recorder())

    def text(self, value: str, *, name: str = "") -> TextBaseline:
        """Begins an expectation of a text.

        Args:
            value: The text.
            name: Its name in the baseline file. Default: the expression of the first argument.

        Returns:
            The expectation. `matches_baseline()` completes it.
        """
        return TextBaseline(value, _named(name), recorder())

    def table(self, value: Any, *, name: str = "") -> TableBaseline:
        """Begins an expectation of a table.

        Args:
            value: A data frame, a list of dicts (rows), or a dict of lists (columns).
            name: As for `text`.

        Returns:
            The expectation. `matches_baseline()` completes it.
        """
        return TableBaseline(value, _named(name), recorder())

    def graph(self, value: Any, *, name: str = "") -> GraphBaseline:
        """Begins an expectation of a graph: its services and edges.

        Args:
            value: A service, a `Graph` or a deployment.
            name: As for `text`.

        Returns:
            The expectation. `matches_baseline()` completes it.
        """
        return GraphBaseline(value, _named(name), recorder())

    def number(self, name: str, value: float, *, by_machine: bool = True) -> NumberExpectation:
        """Begins an expectation of a measured number.

        Args:
            name: Its name, such as `ttft_p50_ms`.
            value: The number.
            by_machine: True to keep one baseline for each machine class.

        Returns:
            The expectation. `of_baseline()`, `of()`, `at_most()` or `at_least()` completes it.

        Raises:
            BaselineError: The value is not a number.
        """
        return NumberExpectation(name, value, recorder(), by_machine=by_machine)

    def tokens(
        self,
        value: Sequence[int],
        *,
        name: str = "",
        logprobs: Sequence[float] | None = None,
        batch_invariant: bool = False,
    ) -> TokensExpectation:
        """Begins an expectation of the tokens of an answer.

        Args:
            value: The token ids.
            name: As for `text`.
            logprobs: The log probability of each token.
            batch_invariant: True if the engine's answers do not depend on the other requests of a batch.

        Returns:
            The expectation. `equal_baseline()` completes it.

        Raises:
            BaselineError: The numbers of tokens and log probabilities differ.
        """
        return TokensExpectation(value, _named(name), recorder(), logprobs=logprobs, batch_invariant=batch_invariant)

    def accept(self, *categories: Category) -> int:
        """Writes the pending changes of this notebook's baselines.

        Args:
            *categories: Write only changes of these categories. Default: all.

        Returns:
            The number of changes.

        Raises:
            BaselineError: The baseline file cannot be read.
        """
        found = [change for change in recorder().pending if not categories or change.category in categories]
        recorder().accept(found)
        return len(found)

    @property
    def baseline_file(self) -> str:
        """The path of the baseline file."""
        return str(recorder().baselines.path)

    @baseline_file.setter
    def baseline_file(self, path: str | Path) -> None:
        recorder().set_baseline_file(Path(path))


expect = Expect()


def _caller() -> FrameType:
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    assert frame is not None
    return frame


def _named(name: str) -> str:
    found = name or argument_text(_caller())
    if not found:
        raise BaselineError("this expectation has no name", where="expect", remedy="set one: name=…")
    return found
