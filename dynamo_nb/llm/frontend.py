"""`Frontend`: the HTTP side of an LLM graph, compatible with OpenAI's API."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dynamo_nb.llm.api.admission import Admission
from dynamo_nb.llm.api.answers import Answer, ChatAnswer, CompletionAnswer, embeddings
from dynamo_nb.llm.api.bodies import ChatBody, CompletionBody, EmbeddingBody, Generation, read
from dynamo_nb.llm.api.catalogue import Catalogue, Entry
from dynamo_nb.llm.api.errors import ApiError, api_error
from dynamo_nb.llm.api.metrics import Measured, RequestMetrics
from dynamo_nb.llm.api.openai import inputs_of, requests_of
from dynamo_nb.llm.api.reply import JSON, MAX_BODY, Reply
from dynamo_nb.llm.interfaces import TextProcessor
from dynamo_nb.sdk import definition_of, depends, dynamo_api, service

MAX_RUNNING: Final = 256  # sequences at once: what one large GPU runs at once with vLLM's own settings
EMBED_AT_ONCE: Final = 16  # texts of one request for embeddings that are under way: enough to fill a batch
MAX_SENT: Final = 4 * MAX_BODY  # bytes of one request, which is sent to a processor once for each of `n` choices
PROCESSOR: Final = frozenset({"generate", "embed", "models"})  # the endpoints that make a dependency a processor


@service
class Frontend:
    """Serves OpenAI's API over the models of its processors.

    served_model_name: the name of the model of `processor`; "" for its own. max_running: sequences at once, a request
    having one for each choice; what comes beyond is answered with 429. port: where the deployment serves it, unless it
    was given one by `--port` or DYNAMO_PORT.

    A subclass with more dependencies on processors serves their models too, each under its own name. It names the
    services, since a link could not tell one from the other: `processor = depends(Small)`, `large = depends(Large)`.
    """

    processor = depends(TextProcessor)

    def __init__(
        self,
        served_model_name: str = "",
        max_running: int = MAX_RUNNING,
        port: int | None = None,  # noqa: ARG002 - read by the deployment, which holds the ports
    ) -> None:
        processors = {
            attribute: client
            for attribute in definition_of(type(self)).dependencies
            if (client := getattr(self, attribute)) is not None and set(dir(client)) >= PROCESSOR
        }
        self.catalogue = Catalogue(processors, {"processor": served_model_name})
        self.admission = Admission(max_running)
        self.metrics = RequestMetrics()
        self._began = int(time.time())

    @dynamo_api("v1/chat/completions")
    async def chat_completions(self, request: Request) -> Any:  # noqa: ARG002 - it answers as an ASGI application
        """An answer to a chat."""
        return _Generated(self, "chat_completions", ChatBody, ChatAnswer, "chatcmpl")

    @dynamo_api("v1/completions")
    async def completions(self, request: Request) -> Any:  # noqa: ARG002
        """How a text goes on."""
        return _Generated(self, "completions", CompletionBody, CompletionAnswer, "cmpl")

    @dynamo_api("v1/embeddings")
    async def embeddings(self, request: Request) -> Any:  # noqa: ARG002
        """Embeddings of texts."""
        return _Embedded(self)

    @dynamo_api("v1/models", http_method="GET")
    async def models(self) -> Any:
        """The models that can be asked for."""
        entries = await self.catalogue.entries()
        return _json({"object": "list", "data": [self._shown(entry) for entry in entries.values()]})

    @dynamo_api("v1/models/{name:path}", http_method="GET")
    async def model(self, name: str) -> Any:
        """One of them."""
        try:
            return _json(self._shown(await self.catalogue.find(name)))
        except Exception as error:
            told = api_error(error)
            return _json(told.content(), told.status)

    @dynamo_api("health", http_method="GET")
    async def health(self) -> Any:
        """200 while a processor answers, else 503."""
        entries = await self.catalogue.entries()
        well = not self.catalogue.silent
        state = {"status": "healthy" if well else "unhealthy", "models": list(entries)}
        return _json(state, 200 if well else 503)

    @dynamo_api("metrics", http_method="GET")
    async def prometheus(self) -> Any:
        """What this worker has counted, for Prometheus."""
        content, kind = self.metrics.exposition()
        return Response(content, media_type=kind)

    def _shown(self, entry: Entry) -> dict[str, Any]:
        root = {"root": entry.info.model, "parent": None, "max_model_len": entry.info.context}
        return {"id": entry.name, "object": "model", "created": self._began, "owned_by": "dynamo_nb", **root}


def _json(content: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type=JSON)


class _Generated(Reply):
    """An answer to a chat or to prompts."""

    def __init__(
        self,
        frontend: Frontend,
        endpoint: str,
        body: type[ChatBody | CompletionBody],
        answer: Callable[..., Answer],
        prefix: str,
    ) -> None:
        super().__init__(Measured(frontend.metrics, endpoint))
        self._frontend, self._kind, self._made = frontend, body, answer
        self._id = f"{prefix}-{uuid.uuid4().hex}"

    async def answer(self, body: bytes) -> None:
        asked = read(self._kind, body)
        entry = await self._frontend.catalogue.find(asked.model)
        if (asked.n or 1) * len(body) > MAX_SENT:
            raise ApiError(f"A body of {len(body)} bytes is too large for {asked.n} choices.", param="n")
        requests = requests_of(asked, self._id, entry.known_as, entry.info)
        answer = self._answer_to(asked, len(requests))
        if isinstance(asked, ChatBody) and asked.max_completion_tokens:
            self.names = {"max_tokens": "max_completion_tokens"}
        with self._frontend.admission.admit(len(requests)):
            self.measured.admitted(entry.name)
            calls = [aiter(entry.processor.generate(request)) for request in requests]
            try:
                await (self.stream if asked.stream else self.collect)(answer, calls)
            finally:
                self.measured.used(answer.usage())

    def _answer_to(self, asked: Generation, choices: int) -> Answer:
        n = asked.n or 1
        logprobs = asked.likeliest is not None
        return self._made(
            self._id, asked.model, prompts=choices // n, n=n, logprobs=logprobs, usage=asked.include_usage
        )


class _Embedded(Reply):
    """An answer to texts to embed."""

    names: Mapping[str, str] = {"prompt": "input"}

    def __init__(self, frontend: Frontend) -> None:
        super().__init__(Measured(frontend.metrics, "embeddings"))
        self._frontend = frontend

    async def answer(self, body: bytes) -> None:
        asked = read(EmbeddingBody, body)
        entry = await self._frontend.catalogue.find(asked.model)
        requests = inputs_of(asked, f"embd-{uuid.uuid4().hex}", entry.known_as, entry.info)
        with self._frontend.admission.admit(1):
            self.measured.admitted(entry.name)
            made = []
            for start in range(0, len(requests), EMBED_AT_ONCE):
                some = requests[start : start + EMBED_AT_ONCE]
                made += await _awaited([entry.processor.embed(request) for request in some])
        await self.whole(embeddings(asked.model, made, base64=asked.encoding_format == "base64"))


async def _awaited(calls: list[Any]) -> list[Any]:
    """The answers of all; the first error ends the others and is raised by itself."""

    async def one(call: Any) -> Any:
        return await call

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(call)) for call in calls]
    except ExceptionGroup as errors:  # what `except*` raises is a group again on Python before 3.11.4
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
