"""Regressions: expectations in the cells of a notebook, their baselines, and runs of notebooks as tests."""

from dynamo_nb.regress.expect import Expect, expect
from dynamo_nb.regress.outcome import ExpectationFailed

__all__ = ["Expect", "ExpectationFailed", "expect"]
