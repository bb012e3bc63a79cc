"""Texts that end an answer, wherever the borders of the tokens fall."""

from __future__ import annotations

from collections.abc import Sequence


class Stops:
    """Finds the first of several texts in a text that comes in pieces, and gives on what is surely not part of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._longest = max(map(len, self._stops), default=0)
        self._held = ""
        self.found = ""

    def __bool__(self) -> bool:
        """Whether there is any text to look for."""
        return bool(self._stops)

    def feed(self, piece: str) -> str:
        """What may be shown now. Nothing comes after one was `found`; that one is not shown."""
        if not self._stops:
            return piece
        if self.found:
            return ""
        text = self._held + piece
        # Where two begin at the same place, the shorter was complete first.
        places = [(at, len(stop), stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if places:
            # Of all that are there, the one that was complete first ends the answer.
            at, _, self.found = min(places, key=lambda place: (place[0] + place[1], place[0]))
            self._held = ""
            return text[:at]
        start = max(0, len(text) - self._longest + 1)
        while start < len(text) and not any(stop.startswith(text[start:]) for stop in self._stops):
            start += 1
        self._held = text[start:]
        return text[:start]

    def end(self) -> str:
        """What was held back: no stop after all."""
        held, self._held = self._held, ""
        return held
