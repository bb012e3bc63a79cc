"""Answers in the form of OpenAI's API, from the deltas of a TextProcessor: complete, or as events of a stream."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Sequence
from itertools import groupby
from struct import pack
from typing import Any, ClassVar, Final

import msgspec

from dynamo_nb.llm.api.choice import Choice
from dynamo_nb.llm.messages import Embedding, TextDelta, TextLogprob, ToolCall

DONE: Final = b"data: [DONE]\n\n"
_json = msgspec.json.Encoder().encode
_END_OF_CHOICE: Final = b'"logprobs":null,"finish_reason":null}]'


class Answer:
    """An answer to one request.

    Args:
        request_id: The id of the answer.
        model: The name of the model in the request.
        prompts: Number of prompts.
        n: Choices of each prompt.
        candidates: Sequences of each prompt, from which a complete answer has the best `n`; 0 for `n`.
        logprobs: True if the request asks for log probabilities.
        usage: True if a stream ends with the usage.
        continuous_usage: True if each event of a stream has the usage of its choice so far.
        prompt_logprobs: True if the request asks for the log probabilities of its prompts.
        named_call: True if the client named the tool that each choice calls.
    """

    kind: ClassVar[str]
    chunk_kind: ClassVar[str]

    def __init__(
        self,
        request_id: str,
        model: str,
        *,
        prompts: int = 1,
        n: int = 1,
        candidates: int = 0,
        logprobs: bool = False,
        usage: bool = False,
        continuous_usage: bool = False,
        named_call: bool = False,
        prompt_logprobs: bool = False,
    ) -> None:
        self.id, self.model, self.created = request_id, model, int(time.time())
        self._has_prompt_logprobs = prompt_logprobs
        self._has_logprobs, self._has_usage, self._has_continuous_usage = logprobs, usage, continuous_usage
        frame = {"id": request_id, "object": self.chunk_kind, "created": self.created, "model": model}
        self._start = b"data: " + _json(frame)[:-1] + b',"choices":['
        self._end = b',"usage":null}\n\n' if usage else b"}\n\n"
        self._n, each = n, candidates or n
        self.choices = [self._choice(index, index // each) for index in range(prompts * each)]
        for choice in self.choices:
            choice.is_named_call = named_call

    def _choice(self, index: int, prompt: int) -> Choice:
        raise NotImplementedError

    def _first(self, choice: Choice) -> bytes:
        """The event before the first text of a choice."""
        raise NotImplementedError

    def _part(self, choice: Choice, delta: TextDelta) -> dict[str, Any]:
        """The choice in an event with more than text."""
        raise NotImplementedError

    def _whole(self, choice: Choice) -> dict[str, Any]:
        raise NotImplementedError

    def events(self, choice: Choice, delta: TextDelta) -> bytes:
        """Returns the events for a delta; none if it changes nothing that a client sees.

        Raises:
            ApiError: The engine aborted the request.
        """
        choice.count(delta)
        first = b""
        if not choice.has_begun:
            choice.has_begun, first = True, self._first(choice)
        if delta.finish or delta.logprobs or delta.tool_calls or (delta.text and self._has_continuous_usage):
            return first + self._event(choice, self._part(choice, delta))
        if not delta.text:
            return first
        return first + choice.head + _json(delta.text) + choice.tail

    def _event(self, choice: Choice, part: dict[str, Any]) -> bytes:
        """An event with a part of a choice."""
        end = self._end
        if self._has_continuous_usage:
            end = b',"usage":' + _json(_usage(choice.prompt_tokens, choice.tokens, choice.cached)) + b"}\n\n"
        return self._start + _json(part) + b"]" + end

    def last(self) -> bytes:
        """Returns the last events of a successful stream."""
        if not self._has_usage:
            return DONE
        return self._start + b'],"usage":' + _json(self.usage()) + b"}\n\n" + DONE

    def whole(self) -> bytes:
        """Returns the complete answer as JSON."""
        return _json(
            {
                "id": self.id,
                "object": self.kind,
                "created": self.created,
                "model": self.model,
                "choices": [self._whole(choice) for choice in self._best()],
                "usage": self.usage(),
                **self._about_prompt(),
            }
        )

    def _best(self) -> list[Choice]:
        """The best choices of each prompt, numbered anew."""
        best: list[Choice] = []
        for _, candidates in groupby(self.choices, lambda choice: choice.prompt):
            found = [*candidates]
            if len(found) > self._n:
                found = sorted(found, key=Choice.score, reverse=True)[: self._n]
            best += found
        for index, choice in enumerate(best):
            choice.index = index
        return best

    def _about_prompt(self) -> dict[str, Any]:
        """Further fields of a complete answer."""
        return {}

    def usage(self) -> dict[str, Any]:
        """Returns the tokens so far, in the form of OpenAI's API. A prompt with several choices counts once."""
        prompts: dict[int, int] = {}
        cached: dict[int, int] = {}
        for choice in self.choices:
            prompts[choice.prompt] = max(prompts.get(choice.prompt, 0), choice.prompt_tokens)
            cached[choice.prompt] = max(cached.get(choice.prompt, 0), choice.cached)
        return _usage(sum(prompts.values()), sum(choice.tokens for choice in self.choices), sum(cached.values()))


def _usage(prompt: int, completion: int, cached: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def _tool_call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


class ChatAnswer(Answer):
    """An answer to POST /v1/chat/completions."""

    kind = "chat.completion"
    chunk_kind = "chat.completion.chunk"

    def _choice(self, index: int, prompt: int) -> Choice:
        head = self._start + b'{"index":%d,"delta":{"content":' % index
        return Choice(index, prompt, head, b"}," + _END_OF_CHOICE + self._end)

    def _first(self, choice: Choice) -> bytes:
        role = {"role": "assistant", "content": ""}
        part = {"index": choice.index, "delta": role, "logprobs": None, "finish_reason": None}
        return self._event(choice, part)

    def _part(self, choice: Choice, delta: TextDelta) -> dict[str, Any]:
        content: dict[str, Any] = {"content": delta.text} if delta.text else {}
        if delta.tool_calls:
            first = len(choice.calls)
            choice.calls += delta.tool_calls
            content["tool_calls"] = [
                {"index": first + n, **_tool_call(call)} for n, call in enumerate(delta.tool_calls)
            ]
        logprobs = self._format(delta.logprobs) if delta.logprobs else None
        return {"index": choice.index, "delta": content, "logprobs": logprobs, "finish_reason": choice.finish}

    def _whole(self, choice: Choice) -> dict[str, Any]:
        text = "".join(choice.texts)
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if choice.calls:
            message |= {"content": text or None, "tool_calls": [_tool_call(call) for call in choice.calls]}
        logprobs = self._format(choice.logprobs) if self._has_logprobs else None
        return {"index": choice.index, "message": message, "logprobs": logprobs, "finish_reason": choice.finish}

    def _about_prompt(self) -> dict[str, Any]:
        return {"prompt_logprobs": self.choices[0].prompt_logprobs} if self._has_prompt_logprobs else {}

    @staticmethod
    def _format(logprobs: Sequence[TextLogprob]) -> dict[str, Any]:
        def one(text: str, data: bytes, logprob: float | None) -> dict[str, Any]:
            return {"token": text, "logprob": logprob, "bytes": list(data)}

        content = [one(p.text, p.data, p.logprob) | {"top_logprobs": [one(*top) for top in p.top]} for p in logprobs]
        return {"content": content, "refusal": None}


class CompletionAnswer(Answer):
    """An answer to POST /v1/completions."""

    kind = chunk_kind = "text_completion"

    def _choice(self, index: int, prompt: int) -> Choice:
        head = self._start + b'{"index":%d,"text":' % index
        return Choice(index, prompt, head, b"," + _END_OF_CHOICE + self._end)

    def _first(self, choice: Choice) -> bytes:  # noqa: ARG002 - answers to chats begin with an event
        return b""

    def _part(self, choice: Choice, delta: TextDelta) -> dict[str, Any]:
        logprobs = self._format(choice, delta.logprobs) if delta.logprobs else None
        return {"index": choice.index, "text": delta.text, "logprobs": logprobs, "finish_reason": choice.finish}

    def _whole(self, choice: Choice) -> dict[str, Any]:
        logprobs = self._format(choice, choice.logprobs) if self._has_logprobs else None
        text = "".join(choice.texts)
        whole = {"index": choice.index, "text": text, "logprobs": logprobs, "finish_reason": choice.finish}
        return whole | ({"prompt_logprobs": choice.prompt_logprobs} if self._has_prompt_logprobs else {})

    @staticmethod
    def _format(choice: Choice, logprobs: Sequence[TextLogprob]) -> dict[str, Any]:
        offsets = []
        for one in logprobs:
            offsets.append(choice.offset)
            choice.offset += len(choice.characters(one.data))
        return {
            "tokens": [one.text for one in logprobs],
            "token_logprobs": [one.logprob for one in logprobs],
            "top_logprobs": [_top_logprobs(one) for one in logprobs],
            "text_offset": offsets,
        }


def _top_logprobs(one: TextLogprob) -> dict[str, float] | None:
    """None for the first token of a prompt."""
    return None if one.logprob is None else dict(map(_keyed, [*one.top, (one.text, one.data, one.logprob)]))


def _keyed(entry: tuple[str, bytes, float]) -> tuple[str, float]:
    """The key and value of a token: its text, or its bytes if it is part of a character, because texts may be equal."""
    text, data, logprob = entry
    return text if text.encode() == data else "bytes:" + "".join(f"\\x{byte:02x}" for byte in data), logprob


def embeddings(model: str, results: Sequence[Embedding], *, base64: bool) -> bytes:
    """Returns the answer to POST /v1/embeddings as JSON.

    Args:
        model: The name of the model in the request.
        results: The embeddings.
        base64: Write vectors as little-endian 32-bit floats in base64, which takes a third of the size.
    """
    tokens = sum(result.tokens for result in results)
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": b64encode(pack(f"<{len(one.vector)}f", *one.vector)).decode() if base64 else one.vector,
        }
        for index, one in enumerate(results)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _json({"object": "list", "data": data, "model": model, "usage": usage})
