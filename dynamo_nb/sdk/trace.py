"""Notes of an endpoint on the trace of the current request."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Protocol


class NoteTaker(Protocol):
    """The span of a request, as far as notes go."""

    def note(self, notes: Mapping[str, Any]) -> None: ...


SPAN: ContextVar[NoteTaker | None] = ContextVar("dynamo_nb_span", default=None)
"""The span of the current request, if it is traced. Set in the task that serves it and in tasks started there."""


def trace_note(**notes: Any) -> None:
    """Adds notes to the span of the current request. Without a trace, nothing happens.

    Args:
        **notes: Numbers, texts, and lists and dicts of them, by name. Long values are shortened. A later note replaces
            an earlier one of the same name.

    Example:
        In an endpoint of a router::

            trace_note(worker=best, overlap=0.8)
    """
    if (span := SPAN.get()) is not None:
        span.note(notes)
