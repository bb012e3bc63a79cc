"""What an endpoint says of the request that it serves, for whoever traces that request."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Protocol


class Noted(Protocol):
    """What takes the notes: the spans of the request that is being served."""

    def note(self, notes: Mapping[str, Any]) -> None: ...


SPAN: ContextVar[Noted | None] = ContextVar("dynamo_nb_span", default=None)
"""Of the task that serves a traced request, and of those that it begins."""


def trace_note(**notes: Any) -> None:
    """Writes on the span of the request that is being served: `trace_note(worker=best, overlap=0.8)`.

    Values are numbers, texts, and lists and dicts of them; what is long is cut. A later note of the same name takes the
    place of the earlier one. Where nobody traces the request, nothing happens.
    """
    if (span := SPAN.get()) is not None:
        span.note(notes)
