"""Writes the tokens of an answer as text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec.structs import replace

from dynamo_nb.llm.messages import Sampling, TextDelta, TextLogprob, TextRequest, TokenDelta, ToolCall
from dynamo_nb.llm.text.stops import Stops
from dynamo_nb.llm.text.tokenizer import Tokenizer
from dynamo_nb.llm.text.tools import ToolCalls


def with_stop_tokens(sampling: Sampling, stop: Sequence[str], tokenizer: Tokenizer) -> Sampling:
    """Returns the parameters with a stop token for each stop text that is one special token, which has no text."""
    tokens = [tokenizer.special_tokens[text] for text in stop if text in tokenizer.special_tokens]
    return replace(sampling, stop_tokens=(*sampling.stop_tokens, *tokens)) if tokens else sampling


class Writer:
    """Writes one answer: detokenises, ends at stop texts, and extracts tool calls.

    Args:
        tokenizer: The model's tokenizer.
        request: The request.
        prompt: The tokens of its prompt.
        tool_call_parser: The format of tool calls; "" to leave them in the text.
    """

    def __init__(self, tokenizer: Tokenizer, request: TextRequest, prompt: list[int], tool_call_parser: str) -> None:
        self._tokenizer = tokenizer
        self._text = tokenizer.detokenizer(prompt)
        self._stops = Stops(request.stop)
        self._least, self._count = request.sampling.min_tokens, 0
        most = math.inf if request.parallel_tool_calls else 1
        self._tools = ToolCalls(most) if request.tools and tool_call_parser else None

    def write(self, delta: TokenDelta) -> TextDelta:
        """Returns the text that is certain now. The answer ends at a stop text, even if the engine continues."""
        text, count = self._detokenised(delta.tokens)
        finish = delta.finish
        if finish and not self._stops.found:
            text += self._stops.feed(self._text.end(), counts=self._count > self._least)
        if self._stops.found:
            finish = "stop"
        elif finish:
            text += self._stops.end()
        calls: list[ToolCall] = []
        if self._tools is not None:
            text = self._tools.feed(text)
            if finish:
                text += self._tools.end()
            calls = self._tools.take()
            if finish == "stop" and self._tools.count:
                finish = "tool_calls"
        logprobs = [self._logprob(entry) for entry in delta.logprobs[:count]]
        return TextDelta(text, count, finish, logprobs=logprobs, tool_calls=calls)

    def _detokenised(self, tokens: list[int]) -> tuple[str, int]:
        """The text of tokens, and how many belong to the answer: not those after a stop text."""
        if not self._stops:
            return self._text.feed(tokens), len(tokens)
        text = ""
        for count, token in enumerate(tokens, 1):
            self._count += 1
            text += self._stops.feed(self._text.feed([token]), counts=self._count > self._least)
            if self._stops.found:
                return text, count
        return text, len(tokens)

    def _logprob(self, entry: list[tuple[int, float]]) -> TextLogprob:
        (token, logprob), *top = entry
        piece = self._tokenizer.piece
        return TextLogprob(*piece(token), logprob, [(*piece(other), value) for other, value in top])
