"""Where something is shown that changes while it is shown: an output of a notebook, or a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

TICK = 0.5
"""Seconds between two states that are shown: a person reads no faster, and a saved notebook keeps one of them."""


class Display(Protocol):
    """One place. A bundle maps MIME types to what is shown; `text/plain` is always among them."""

    def show(self, bundle: Mapping[str, str], steps: Sequence[str] = ()) -> None:
        """Shows this instead of what it showed, until the next time.

        steps: lines without what changes all the time, for what can only be added to, such as a log.
        """

    def close(self, bundle: Mapping[str, str]) -> None:
        """Leaves this to be seen in the end; nothing where `text/plain` is empty."""


class Nowhere:
    """Shows nothing: a script, which has the value."""

    def show(self, bundle: Mapping[str, str], steps: Sequence[str] = ()) -> None:
        """Shows nothing."""

    def close(self, bundle: Mapping[str, str]) -> None:
        """Shows nothing."""
