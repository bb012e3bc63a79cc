"""Stop texts, which end an answer wherever the borders of the tokens are."""

from __future__ import annotations

from collections.abc import Sequence


class Stops:
    """Finds the first of several stop texts in a text that comes in pieces. Holds back what may become a stop text.

    Args:
        stops: The stop texts.

    Attributes:
        found: The stop text that was found; "" if none was.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._longest = max(map(len, self._stops), default=0)
        self._held = ""
        self.found = ""

    def __bool__(self) -> bool:
        """True if there are stop texts."""
        return bool(self._stops)

    def feed(self, piece: str, *, counts: bool = True) -> str:
        """Returns the text that is certain now, without a stop text. Nothing after one was found.

        Args:
            piece: The next piece of the text.
            counts: False to pass over stop texts that end in this piece.
        """
        if not self._stops:
            return piece
        if self.found:
            return ""
        text = self._held + piece
        before = len(self._held)  # a stop text that ends there was passed over
        matches = [
            (start + len(stop), start, stop)
            for stop in self._stops
            if (start := text.find(stop, max(0, before - len(stop) + 1))) >= 0
        ]
        if matches and counts:
            # The stop text that was complete first ends the answer; of several, the first in the list, as in vLLM.
            _, start, self.found = min(matches, key=lambda match: match[0])
            self._held = ""
            return text[:start]
        start = max(0, len(text) - self._longest + 1)
        while start < len(text) and not any(stop.startswith(text[start:]) for stop in self._stops):
            start += 1
        self._held = text[start:]
        return text[:start]

    def end(self) -> str:
        """Returns the text that was held back, which did not become a stop text."""
        held, self._held = self._held, ""
        return held
