"""The last distinct errors of each service, from the reports of its workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from dynamo_nb.control.events import ServiceError

MOST_ERRORS: Final = 20
"""Maximum number of distinct errors of one service. The error whose last occurrence is oldest is dropped first."""


class ServiceErrors:
    """Sums up the errors of a deployment's services.

    Attributes:
        changes: number of reports so far. Clients read the errors only when it has changed.
    """

    def __init__(self) -> None:
        self.changes = 0
        self._by_service: dict[str, dict[str, ServiceError]] = {}

    def add(self, errors: Sequence[ServiceError]) -> None:
        """Adds a report of a worker.

        Args:
            errors: errors with the counts since the last report of the worker.
        """
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
        """Returns errors as plain data, latest first.

        Args:
            service: name of the service; "" for all services.
        """
        chosen = [self._by_service.get(service, {})] if service else self._by_service.values()
        found = [error for known in chosen for error in known.values()]
        return [msgspec.to_builtins(error) for error in sorted(found, key=lambda one: one.last, reverse=True)]
