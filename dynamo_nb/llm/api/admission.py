"""The limit of sequences that a frontend serves at the same time. Further requests are refused at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from dynamo_nb.llm.api.errors import BUSY, ApiError

RETRY_AFTER: Final = 1  # seconds; OpenAI's clients double it from one attempt to the next


class Admission:
    """Admits at most `limit` sequences at the same time; a request has one for each of its choices."""

    def __init__(self, limit: int) -> None:
        self.limit, self.running = limit, 0

    @contextmanager
    def admit(self, count: int) -> Iterator[None]:
        """Counts the sequences of a request while it runs.

        Args:
            count: Sequences of the request.

        Raises:
            ApiError: The limit is reached.
        """
        if count > self.limit:
            raise ApiError(f"The request has {count} choices; the limit is {self.limit}.", param="n")
        if self.running + count > self.limit:
            raise ApiError(
                f"The server is busy: {self.running} of at most {self.limit} sequences are running.",
                status=429,
                kind=BUSY,
                code="rate_limit_exceeded",
                headers={"retry-after": str(RETRY_AFTER)},
            )
        self.running += count
        try:
            yield
        finally:
            self.running -= count
