"""The last distinct errors of each service, from the reports of its workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from dynamo_nb.control.events import ServiceError

MOST_ERRORS: Final = 20
"""Distinct errors of one service that are kept; the one that occurred last the longest ago is dropped first."""


class ServiceErrors:
    """Adds up the errors of a deployment's services.

    Attributes:
        changes: number of reports so far, so that clients ask only for news.
    """

    def __init__(self) -> None:
        self.changes = 0
        self._by_service: dict[str, dict[str, ServiceError]] = {}

    def add(self, errors: Sequence[ServiceError]) -> None:
        """Adds a report of a worker, whose counts are those since its last report."""
        self.changes += 1
        for error in errors:
            known = self._by_service.setdefault(error.service, {})
            if (before := known.pop(error.id, None)) is not None:
                latest = max(before, error, key=lambda one: one.last)
                error = msgspec.structs.replace(  # noqa: PLW2901
                    latest,
                    count=before.count + error.count,
                    first=min(before.first, error.first),
                    traceback=before.traceback or error.traceback,
                )
            known[error.id] = error
            while len(known) > MOST_ERRORS:
                del known[min(known, key=lambda id_: known[id_].last)]

    async def read(self, service: str = "") -> list[dict[str, Any]]:
        """The errors of a service, or of all services, as plain data; the latest first."""
        chosen = [self._by_service.get(service, {})] if service else self._by_service.values()
        found = [error for known in chosen for error in known.values()]
        return [msgspec.to_builtins(error) for error in sorted(found, key=lambda one: one.last, reverse=True)]
