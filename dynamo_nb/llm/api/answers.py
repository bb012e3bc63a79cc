"""Answers in the form of OpenAI's API: made of the deltas of a TextProcessor, whole or as events of a stream."""

from __future__ import annotations

import time
from base64 import b64encode
from codecs import getincrementaldecoder
from collections.abc import Sequence
from struct import pack
from typing import Any, ClassVar, Final

import msgspec

from dynamo_nb.llm.api.errors import SERVER, ApiError
from dynamo_nb.llm.messages import Embedding, TextDelta, TextLogprob

DONE: Final = b"data: [DONE]\n\n"
_json = msgspec.json.Encoder().encode
_NOTHING_ELSE: Final = b'"logprobs":null,"finish_reason":null}]'


class Choice:
    """One of the sequences of an answer, and what has come of it."""

    def __init__(self, index: int, prompt: int, head: bytes, tail: bytes) -> None:
        self.index, self.prompt = index, prompt
        self.head, self.tail = head, tail  # around the text of an event that holds nothing else
        self.texts: list[str] = []
        self.logprobs: list[TextLogprob] = []
        self.calls: list[dict[str, Any]] = []
        self.finish: str | None = None
        self.begun = False
        self.told = 0  # characters of the tokens whose log probabilities were told
        self.characters = getincrementaldecoder("utf-8")("replace").decode
        self.tokens = self.prompt_tokens = self.cached = 0

    def count(self, delta: TextDelta) -> None:
        """Raises ApiError where the engine gave up the request."""
        self.tokens += delta.tokens
        self.prompt_tokens += max(delta.prompt_tokens, 0)
        self.cached += max(delta.cached, 0)
        if delta.finish == "abort":
            raise ApiError("The server ended this request before it was done.", status=503, kind=SERVER)
        self.finish = delta.finish or None

    def keep(self, delta: TextDelta) -> None:
        """For an answer that is told whole."""
        self.count(delta)
        self.texts.append(delta.text)
        self.logprobs += delta.logprobs
        self.calls += delta.tool_calls


class Answer:
    """An answer to one request.

    model: the name that was asked for. prompts: how many there are, each with `n` choices. logprobs: whether they were
    asked for. usage: whether a stream ends with it.
    """

    kind: ClassVar[str]
    chunk_kind: ClassVar[str]

    def __init__(
        self, request_id: str, model: str, *, prompts: int = 1, n: int = 1, logprobs: bool = False, usage: bool = False
    ) -> None:
        self.id, self.model, self.created = request_id, model, int(time.time())
        self._logprobs, self._usage = logprobs, usage
        frame = {"id": request_id, "object": self.chunk_kind, "created": self.created, "model": model}
        self._start = b"data: " + _json(frame)[:-1] + b',"choices":['
        self._end = b',"usage":null}\n\n' if usage else b"}\n\n"
        self.choices = [self._choice(index, index // n) for index in range(prompts * n)]

    def _choice(self, index: int, prompt: int) -> Choice:
        raise NotImplementedError

    def _first(self, choice: Choice) -> bytes:
        """What comes before the first text of a choice."""
        raise NotImplementedError

    def _part(self, choice: Choice, delta: TextDelta) -> dict[str, Any]:
        """The choice of an event that is more than a text."""
        raise NotImplementedError

    def _whole(self, choice: Choice) -> dict[str, Any]:
        raise NotImplementedError

    def events(self, choice: Choice, delta: TextDelta) -> bytes:
        """The events that tell a delta; none where nothing of it can be seen yet. Raises ApiError, see Choice."""
        choice.count(delta)
        first = b""
        if not choice.begun:
            choice.begun, first = True, self._first(choice)
        if delta.finish or delta.logprobs or delta.tool_calls:
            return first + self._start + _json(self._part(choice, delta)) + b"]" + self._end
        if not delta.text:
            return first
        return first + choice.head + _json(delta.text) + choice.tail

    def last(self) -> bytes:
        """The end of a stream that went well."""
        if not self._usage:
            return DONE
        return self._start + b'],"usage":' + _json(self.usage()) + b"}\n\n" + DONE

    def whole(self) -> bytes:
        return _json(
            {
                "id": self.id,
                "object": self.kind,
                "created": self.created,
                "model": self.model,
                "choices": [self._whole(choice) for choice in self.choices],
                "usage": self.usage(),
            }
        )

    def usage(self) -> dict[str, Any]:
        """What was used so far; a prompt with several choices counts once."""
        prompts: dict[int, int] = {}
        cached: dict[int, int] = {}
        for choice in self.choices:
            prompts[choice.prompt] = max(prompts.get(choice.prompt, 0), choice.prompt_tokens)
            cached[choice.prompt] = max(cached.get(choice.prompt, 0), choice.cached)
        prompt, completion = sum(prompts.values()), sum(choice.tokens for choice in self.choices)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": sum(cached.values())},
        }


class ChatAnswer(Answer):
    """An answer to POST /v1/chat/completions."""

    kind = "chat.completion"
    chunk_kind = "chat.completion.chunk"

    def _choice(self, index: int, prompt: int) -> Choice:
        head = self._start + b'{"index":%d,"delta":{"content":' % index
        return Choice(index, prompt, head, b"}," + _NOTHING_ELSE + self._end)

    def _first(self, choice: Choice) -> bytes:
        role = {"role": "assistant", "content": ""}
        part = {"index": choice.index, "delta": role, "logprobs": None, "finish_reason": None}
        return self._start + _json(part) + b"]" + self._end

    def _part(self, choice: Choice, delta: TextDelta) -> dict[str, Any]:
        said: dict[str, Any] = {"content": delta.text} if delta.text else {}
        if delta.tool_calls:
            before = len(choice.calls)
            choice.calls += delta.tool_calls
            said["tool_calls"] = [{"index": before + n, **call} for n, call in enumerate(delta.tool_calls)]
        logprobs = self._told(delta.logprobs) if delta.logprobs else None
        return {"index": choice.index, "delta": said, "logprobs": logprobs, "finish_reason": choice.finish}

    def _whole(self, choice: Choice) -> dict[str, Any]:
        text = "".join(choice.texts)
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if choice.calls:
            message |= {"content": text or None, "tool_calls": choice.calls}
        logprobs = self._told(choice.logprobs) if self._logprobs else None
        return {"index": choice.index, "message": message, "logprobs": logprobs, "finish_reason": choice.finish}

    @staticmethod
    def _told(logprobs: Sequence[TextLogprob]) -> dict[str, Any]:
        def one(text: str, data: bytes, logprob: float) -> dict[str, Any]:
            return {"token": text, "logprob": logprob, "bytes": list(data)}

        content = [one(p.text, p.data, p.logprob) | {"top_logprobs": [one(*top) for top in p.top]} for p in logprobs]
        return {"content": content, "refusal": None}


class CompletionAnswer(Answer):
    """An answer to POST /v1/completions."""

    kind = chunk_kind = "text_completion"

    def _choice(self, index: int, prompt: int) -> Choice:
        head = self._start + b'{"index":%d,"text":' % index
        return Choice(index, prompt, head, b"," + _NOTHING_ELSE + self._end)

    def _first(self, choice: Choice) -> bytes:  # noqa: ARG002 - other answers begin with something
        return b""

    def _part(self, choice: Choice, delta: TextDelta) -> dict[str, Any]:
        logprobs = self._told(choice, delta.logprobs) if delta.logprobs else None
        return {"index": choice.index, "text": delta.text, "logprobs": logprobs, "finish_reason": choice.finish}

    def _whole(self, choice: Choice) -> dict[str, Any]:
        logprobs = self._told(choice, choice.logprobs) if self._logprobs else None
        text = "".join(choice.texts)
        return {"index": choice.index, "text": text, "logprobs": logprobs, "finish_reason": choice.finish}

    @staticmethod
    def _told(choice: Choice, logprobs: Sequence[TextLogprob]) -> dict[str, Any]:
        offsets = []
        for one in logprobs:
            offsets.append(choice.told)
            choice.told += len(choice.characters(one.data))
        return {
            "tokens": [one.text for one in logprobs],
            "token_logprobs": [one.logprob for one in logprobs],
            "top_logprobs": [dict(map(_keyed, [*one.top, (one.text, one.data, one.logprob)])) for one in logprobs],
            "text_offset": offsets,
        }


def _keyed(entry: tuple[str, bytes, float]) -> tuple[str, float]:
    """A token by its text; a part of a character by its bytes, since several have the same text."""
    text, data, logprob = entry
    return text if text.encode() == data else "bytes:" + "".join(f"\\x{byte:02x}" for byte in data), logprob


def embeddings(model: str, made: Sequence[Embedding], *, base64: bool) -> bytes:
    """The answer to POST /v1/embeddings. base64: vectors as little-endian 32-bit floats, a third of the size."""
    tokens = sum(one.tokens for one in made)
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": b64encode(pack(f"<{len(one.vector)}f", *one.vector)).decode() if base64 else one.vector,
        }
        for index, one in enumerate(made)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _json({"object": "list", "data": data, "model": model, "usage": usage})
