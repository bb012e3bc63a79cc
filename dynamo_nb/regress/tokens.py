"""Expectations of the tokens of an answer.

Some engines sum in another order for another batch. They may choose another token where two are nearly as likely. Their
tokens cannot be compared for equality. Their log probabilities up to the first different token can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from dynamo_nb.errors import BaselineError
from dynamo_nb.regress.baseline import MISSING
from dynamo_nb.regress.baselined import CREATE, FIX
from dynamo_nb.regress.outcome import Outcome, shown
from dynamo_nb.regress.recorder import Recorder

TOLERANCE: Final = 0.1  # absolute, of log probabilities: the effect of another order of summation in bfloat16


class TokensExpectation:
    """An expectation of tokens.

    Args:
        tokens: The token ids.
        name: Their name.
        recorder: Records the outcome.
        logprobs: The log probability of each token, or None.
        batch_invariant: True if the engine's answers do not depend on the other requests of a batch.
    """

    def __init__(
        self,
        tokens: Sequence[int],
        name: str,
        recorder: Recorder,
        *,
        logprobs: Sequence[float] | None,
        batch_invariant: bool,
    ) -> None:
        self._name, self._recorder = name, recorder
        self._tokens = [int(token) for token in tokens]
        self._logprobs = None if logprobs is None else [float(logprob) for logprob in logprobs]
        self._batch_invariant = batch_invariant
        if self._logprobs is not None and len(self._logprobs) != len(self._tokens):
            raise BaselineError(
                f"{len(self._tokens)} tokens have {len(self._logprobs)} log probabilities",
                where=f"expect.tokens: {name}",
            )
        recorder.begin_check(self, name)

    def equal_baseline(self, *, tolerance: float = TOLERANCE) -> bool:
        """Expects the tokens of the baseline. For an engine that is not batch invariant: their log probabilities.

        Args:
            tolerance: Largest allowed difference of two log probabilities.

        Returns:
            True if the tokens or their log probabilities are equal. In an open notebook, also without a baseline.

        Raises:
            BaselineError: The baseline file cannot be read, the baseline has no tokens, or the name is taken.
        """
        self._recorder.end_check(self)
        baseline = self._recorder.baseline(self._name)
        data: dict[str, Any] = {"tokens": self._tokens, "batch_invariant": self._batch_invariant}
        if self._logprobs is not None:
            data["logprobs"] = [round(logprob, 4) for logprob in self._logprobs]
        if baseline is MISSING:
            self._recorder.change("create", self._name, data)
            return self._record(not self._recorder.in_run, "the tokens of its baseline", "none", CREATE)
        if not isinstance(baseline, dict) or not isinstance(baseline.get("tokens"), list):
            raise BaselineError(
                f"the baseline of {self._name!r} has no tokens", where=str(self._recorder.baselines.path)
            )
        if baseline["tokens"] == self._tokens:
            if baseline != data:
                self._recorder.change("update", self._name, data)
            return self._record(True, "the tokens of its baseline")
        note = self._difference(baseline, tolerance)
        if note:
            self._recorder.change("fix", self._name, data)
        return self._record(not note, "the tokens of its baseline", shown(baseline["tokens"]), f"{note}\n{FIX}")

    def _difference(self, baseline: dict[str, Any], tolerance: float) -> str:
        """The difference to the baseline as a phrase; "" if there is none within the tolerance."""
        theirs: list[int] = baseline["tokens"]
        pairs = zip(self._tokens, theirs, strict=False)
        first = next((n for n, (own, other) in enumerate(pairs) if own != other), min(len(self._tokens), len(theirs)))
        if self._batch_invariant and baseline.get("batch_invariant"):
            return f"token {first} is the first one that differs"
        reason = "the engine is not batch invariant, so tokens cannot be compared for equality; "
        logprobs, before = self._logprobs, baseline.get("logprobs")
        if logprobs is None or not isinstance(before, list):
            return f"{reason}without logprobs=… their log probabilities cannot be compared (token {first} differs)"
        if first >= len(logprobs) or first >= len(before):
            return f"{reason}one answer ends at token {first}, where the other continues"
        # Both runs have equal text up to the first different token, and different text after it.
        worst = max(range(first + 1), key=lambda n: abs(logprobs[n] - before[n]))
        size = abs(logprobs[worst] - before[worst])
        if size <= tolerance:
            return ""
        return f"{reason}the log probability of token {worst} differs by {size:.3g}, more than {tolerance:g}"

    def _record(self, passed: bool, what: str, expected: str = "", note: str = "") -> bool:
        value = shown(self._tokens)
        self._recorder.record(Outcome(self._name, passed, what, value=value, expected=expected, note=note.strip()))
        return passed
