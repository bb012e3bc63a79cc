"""One of the sequences of an answer, as its deltas arrive."""

from __future__ import annotations

from codecs import getincrementaldecoder
from statistics import fmean
from typing import Any

from dynamo_nb.llm.api.errors import SERVER, ApiError
from dynamo_nb.llm.messages import PromptToken, TextDelta, TextLogprob, ToolCall


class Choice:
    """One of the sequences of an answer, and its state.

    Args:
        index: Its number in the answer.
        prompt: The number of its prompt.
        head: The bytes before the text, in an event with nothing but text.
        tail: The bytes after it.

    Attributes:
        is_named_call: True if the client named the tool that the answer calls. OpenAI's `finish_reason` is then "stop".
    """

    def __init__(self, index: int, prompt: int, head: bytes, tail: bytes) -> None:
        self.index, self.prompt = index, prompt
        self.head, self.tail = head, tail
        self.texts: list[str] = []
        self.logprobs: list[TextLogprob] = []
        self.calls: list[ToolCall] = []
        self.prompt_logprobs: list[dict[int, Any] | None] = [None]
        self.finish: str | None = None
        self.has_begun = False
        self.offset = 0  # characters of the tokens whose log probabilities were sent
        self.characters = getincrementaldecoder("utf-8")("replace").decode
        self.tokens = self.prompt_tokens = self.cached = 0
        self.is_named_call = False

    def count(self, delta: TextDelta) -> None:
        """Counts the tokens of a delta.

        Raises:
            ApiError: The engine aborted the request.
        """
        self.tokens += delta.tokens
        self.prompt_tokens += max(delta.prompt_tokens, 0)
        self.cached += max(delta.cached, 0)
        if delta.finish == "abort":
            raise ApiError("The server aborted this request.", status=503, kind=SERVER)
        is_named = self.is_named_call and delta.finish == "tool_calls"
        self.finish = "stop" if is_named else delta.finish or None

    def score(self) -> float:
        """Returns the mean log probability of the generated tokens."""
        own = self.logprobs[len(self.logprobs) - self.tokens :]
        return fmean(one.logprob or 0.0 for one in own) if own else 0.0

    def add(self, delta: TextDelta) -> None:
        """Counts and stores a delta, for an answer that is sent when it is complete."""
        self.count(delta)
        self.texts.append(delta.text)
        self.logprobs += delta.logprobs
        self.calls += delta.tool_calls
        for entry in delta.prompt_logprobs:
            self.prompt_logprobs.append({one.token: _prompt_token(one) for one in entry})


def _prompt_token(one: PromptToken) -> dict[str, Any]:
    return {"logprob": one.logprob, "rank": one.rank, "decoded_token": one.text}
