"""Displays for output that changes: an output of a notebook, or a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

TICK = 0.5
"""Seconds between two states of a display: people read no faster, and a saved notebook keeps the last."""


class Display(Protocol):
    """One output that can be replaced."""

    def show(self, bundle: Mapping[str, str], steps: Sequence[str] = ()) -> None:
        """Replaces the output. Called on the portal's loop while something is in progress.

        Args:
            bundle: MIME type to text; always with `text/plain`.
            steps: the same without numbers that change all the time, for displays that only append, such as a log.
        """

    def close(self, bundle: Mapping[str, str]) -> None:
        """Replaces the output for the last time. An empty `text/plain` removes it."""


class Nowhere:
    """A display that shows nothing, for scripts."""

    def show(self, bundle: Mapping[str, str], steps: Sequence[str] = ()) -> None:
        """Shows nothing."""

    def close(self, bundle: Mapping[str, str]) -> None:
        """Shows nothing."""
