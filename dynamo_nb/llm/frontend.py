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
from dynamo_nb.llm.api.fields import IgnoredFields
from dynamo_nb.llm.api.metrics import RequestMetrics, RequestTimer
from dynamo_nb.llm.api.reply import JSON, MAX_BODY, Reply
from dynamo_nb.llm.api.request_checks import inputs_of, requests_of
from dynamo_nb.llm.interfaces import TextProcessor
from dynamo_nb.sdk import definition_of, depends, dynamo_api, service

MAX_RUNNING: Final = 256  # sequences at the same time: vLLM's default on a large GPU
EMBED_AT_ONCE: Final = 16  # texts of one embeddings request at the same time: enough to fill a batch
MAX_SENT: Final = 4 * MAX_BODY  # bytes of one request, which is sent to the processor once for each of its `n` choices
PROCESSOR: Final = frozenset({"generate", "embed", "models"})  # the endpoints that make a dependency a processor


@service
class Frontend:
    """Serves the models of its processors through OpenAI's API.

    A subclass with more dependencies on processors serves their models too, each under its own name. Such dependencies
    name the service, because a link to the interface would not say which is which: `processor = depends(Small)`,
    `large = depends(Large)`.

    Args:
        served_model_name: The name of `processor`'s model; "" for the name that the processor uses.
        max_running: Sequences at the same time; a request has one for each choice. Further requests get status 429.
        port: The port on which the deployment serves it, unless `--http-port` or DYNAMO_PORT is set.

    Example:
        `Frontend.link(Processor).link(EchoWorker)`
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
        self.ignored = IgnoredFields()
        self._started = int(time.time())

    # --- examples of requests

    async def _model_example(self) -> dict[str, Any]:
        return {"name": next(iter(await self.catalogue.entries()))}

    async def _chat_example(self) -> dict[str, Any]:
        model = next(iter(await self.catalogue.entries()))
        return {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 16}

    async def _completion_example(self) -> dict[str, Any]:
        return {"model": next(iter(await self.catalogue.entries())), "prompt": "Hello", "max_tokens": 16}

    async def _embedding_example(self) -> dict[str, Any]:
        return {"model": next(iter(await self.catalogue.entries())), "input": "Hello"}

    # --- routes

    @dynamo_api("v1/chat/completions", example=_chat_example)
    async def chat_completions(self, request: Request) -> Any:  # noqa: ARG002 - it answers as an ASGI application
        """The answer to a chat."""
        return _GenerationReply(self, "chat_completions", ChatBody, ChatAnswer, "chatcmpl")

    @dynamo_api("v1/completions", example=_completion_example)
    async def completions(self, request: Request) -> Any:  # noqa: ARG002
        """The continuation of a text."""
        return _GenerationReply(self, "completions", CompletionBody, CompletionAnswer, "cmpl")

    @dynamo_api("v1/embeddings", example=_embedding_example)
    async def embeddings(self, request: Request) -> Any:  # noqa: ARG002
        """Embeddings of texts."""
        return _EmbeddingReply(self)

    @dynamo_api("v1/models", http_method="GET")
    async def models(self) -> Any:
        """The models that requests may name."""
        entries = await self.catalogue.entries()
        return _json({"object": "list", "data": [self._description(entry) for entry in entries.values()]})

    @dynamo_api("v1/models/{name:path}", http_method="GET", example=_model_example)
    async def model(self, name: str) -> Any:
        """One model."""
        try:
            return _json(self._description(await self.catalogue.find(name)))
        except Exception as exception:
            error = api_error(exception)
            return _json(error.content(), error.status)

    @dynamo_api("health", http_method="GET")
    async def health(self) -> Any:
        """200 while a processor answers, otherwise 503."""
        entries = await self.catalogue.entries()
        is_healthy = not self.catalogue.all_failed
        state = {"status": "healthy" if is_healthy else "unhealthy", "models": list(entries)}
        return _json(state, 200 if is_healthy else 503)

    @dynamo_api("metrics", http_method="GET")
    async def prometheus(self) -> Any:
        """The counters of this worker, in Prometheus' text format."""
        content, media_type = self.metrics.prometheus()
        return Response(content, media_type=media_type)

    def _description(self, entry: Entry) -> dict[str, Any]:
        root = {"root": entry.info.model, "parent": None, "max_model_len": entry.info.context}
        return {"id": entry.name, "object": "model", "created": self._started, "owned_by": "dynamo_nb", **root}


def _json(content: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type=JSON)


class _GenerationReply(Reply):
    """The reply to a chat or to prompts."""

    def __init__(
        self,
        frontend: Frontend,
        endpoint: str,
        body_type: type[ChatBody | CompletionBody],
        answer_type: Callable[..., Answer],
        id_prefix: str,
    ) -> None:
        super().__init__(RequestTimer(frontend.metrics, endpoint))
        self._frontend, self._body_type, self._answer_type = frontend, body_type, answer_type
        self._id = f"{id_prefix}-{uuid.uuid4().hex}"

    async def answer(self, data: bytes) -> None:
        body = read(self._body_type, data, self._frontend.ignored)
        entry = await self._frontend.catalogue.find(body.model)
        if body.candidates * len(data) > MAX_SENT:
            raise ApiError(f"A body of {len(data)} bytes is too large for {body.candidates} choices.", param="n")
        requests = requests_of(body, self._id, entry.processor_name, entry.info)
        answer = self._answer(body, len(requests))
        if isinstance(body, ChatBody) and body.max_completion_tokens:
            self.param_names = {"max_tokens": "max_completion_tokens"}
        with self._frontend.admission.admit(len(requests)):
            self.timer.admitted(entry.name)
            calls = [aiter(entry.processor.generate(request)) for request in requests]
            try:
                await (self.stream if body.stream else self.collect)(answer, calls)
            finally:
                self.timer.count(answer.usage())

    def _answer(self, body: Generation, choices: int) -> Answer:
        logprobs = body.top_logprob_count is not None
        return self._answer_type(
            self._id,
            body.model,
            prompts=choices // body.candidates,
            n=body.n or 1,
            candidates=body.candidates,
            logprobs=logprobs,
            usage=body.include_usage,
            continuous_usage=body.continuous_usage,
            named_call=body.names_tool,
            prompt_logprobs=body.prompt_logprobs is not None,
        )


class _EmbeddingReply(Reply):
    """The reply to texts to embed."""

    param_names: Mapping[str, str] = {"prompt": "input"}

    def __init__(self, frontend: Frontend) -> None:
        super().__init__(RequestTimer(frontend.metrics, "embeddings"))
        self._frontend = frontend

    async def answer(self, data: bytes) -> None:
        body = read(EmbeddingBody, data, self._frontend.ignored)
        entry = await self._frontend.catalogue.find(body.model)
        requests = inputs_of(body, f"embd-{uuid.uuid4().hex}", entry.processor_name, entry.info)
        with self._frontend.admission.admit(1):
            self.timer.admitted(entry.name)
            results = []
            for start in range(0, len(requests), EMBED_AT_ONCE):
                batch = requests[start : start + EMBED_AT_ONCE]
                results += await _gathered([entry.processor.embed(request) for request in batch])
        await self.whole(embeddings(body.model, results, base64=body.encoding_format == "base64"))


async def _gathered(calls: list[Any]) -> list[Any]:
    """The results of all calls. The first error cancels the others and is raised."""

    async def one(call: Any) -> Any:
        return await call

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(call)) for call in calls]
    except ExceptionGroup as errors:  # not `except*`: before Python 3.11.4 a raise in it makes a group again
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
