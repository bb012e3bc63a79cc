"""The part of an answer that a TorchEngine has generated and that was not read yet."""

from __future__ import annotations

import asyncio

from dynamo_nb.errors import EngineError
from dynamo_nb.llm.messages import Logprobs, TokenDelta


class TorchStream:
    """Collects the tokens of one answer on the event loop, until its reader takes them."""

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.running = False
        self.finish = ""
        self.error: EngineError | None = None
        self.changed = asyncio.Event()
        self._tokens: list[int] = []
        self._logprobs: list[Logprobs] = []
        self._first = True

    def add(self, tokens: list[int], logprobs: list[Logprobs], finish: str) -> None:
        """Adds generated tokens; ignored after the end of the answer."""
        if not self.finish:
            self._tokens += tokens
            self._logprobs += logprobs
            self.finish = finish
            self.changed.set()

    def fail(self, error: EngineError) -> None:
        """Ends the answer with an error."""
        self.error = error
        self.changed.set()

    def take(self) -> TokenDelta | None:
        """Returns what was added since the last call; None if there is nothing."""
        self.changed.clear()
        if not self._tokens and not self.finish:
            return None
        delta = TokenDelta(self._tokens, self.finish, self._logprobs, cached=0 if self._first else -1)
        self._tokens, self._logprobs, self._first = [], [], False
        return delta
