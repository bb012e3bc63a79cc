"""The service between text and tokens: templates, tokenises, places, detokenises, and migrates."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, aclosing, suppress
from typing import Any, Final, Literal, cast

from msgspec import convert
from msgspec.structs import replace

from dynamo_nb.errors import DynamoError, EngineError, InvalidArgument, NoInstances, WorkerLost
from dynamo_nb.llm.instances import others_than
from dynamo_nb.llm.interfaces import TextProcessor, TokenRouter, TokenWorker
from dynamo_nb.llm.messages import (
    Embedding,
    ModelInfo,
    Placement,
    Sampling,
    ServedModel,
    TextDelta,
    TextLogprob,
    TextRequest,
    TokenDelta,
    TokenRequest,
)
from dynamo_nb.llm.text.stops import Stops
from dynamo_nb.llm.text.tokens import Tokenizer
from dynamo_nb.llm.text.tools import ToolCalls
from dynamo_nb.llm.worker import NAMESPACE
from dynamo_nb.runtime import POLICIES, Instance, Policy, Request
from dynamo_nb.sdk import (
    async_on_shutdown,
    async_on_start,
    depends,
    dynamo_context,
    dynamo_endpoint,
    service,
    trace_note,
)

LONG_TEXT: Final = 4096  # characters from which tokenising is left to a thread, so that nobody else waits for it
LONG_AT_ONCE: Final = 4  # such texts: each takes a core, and a thread ends its work also when nobody waits for it
INFO_WAIT: Final = 1.0  # seconds for the workers to say what they serve
MIGRATION_LIMIT: Final = 3  # workers that one request may lose by default
MAX_REFUSALS: Final = 3  # times that a request finds no worker, or one that has just gone: seconds each, or none at all


@service(dynamo={"namespace": NAMESPACE})
class Processor(TextProcessor):
    """Turns chats and prompts into tokens for workers, and their tokens into text.

    Linked to a TokenRouter it asks that one where each request goes, else it chooses by `router` among the workers of
    the TokenWorker that it is linked to.
    """

    worker = depends(TokenWorker)
    router = depends(TokenRouter)

    def __init__(
        self,
        model: str = "",
        served_model_name: str = "",
        router: Literal["random", "round-robin", "least-loaded", "kv"] = "round-robin",
        migration_limit: int = MIGRATION_LIMIT,
        tool_call_parser: Literal["", "hermes"] = "",
    ) -> None:
        """model: whose tokenizer it uses, a folder or a name; that of the workers if "".

        served_model_name: what requests call it; the model's own name if "". router: how a worker is chosen; "kv" where
        a Router is linked. migration_limit: how many workers one request may lose before it fails. tool_call_parser:
        how the model writes the calls of tools; "" where it cannot.
        """
        self.model, self.name = model, served_model_name
        self.migration_limit, self.tool_call_parser = migration_limit, tool_call_parser
        named = {name.replace("_", "-"): make for name, make in POLICIES.items()}
        self._policy: Policy = named.get(router, POLICIES["round_robin"])()
        if router == "kv" and self.router is None:
            raise DynamoError(
                "Processor.router is 'kv', and no Router is linked",
                where="Processor.router",
                remedy="link one: Processor.link(Router).link(…), or choose random, round-robin or least-loaded",
            )

    @async_on_start
    async def load(self) -> None:
        self.info: ModelInfo = await (self.router if self.router is not None else self.worker).info()
        self.model = self.model or self.info.model
        self.name = self.name or self.model
        self.tokenizer = await asyncio.to_thread(Tokenizer, self.model)
        self._clients: dict[str, Any] = {}
        self._threads = ThreadPoolExecutor(LONG_AT_ONCE)

    @async_on_shutdown
    async def end(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    @dynamo_endpoint()
    async def models(self) -> list[ServedModel]:
        """The names by which requests may ask for it, as the workers have them now."""
        with suppress(DynamoError):  # none is there: what they had may come again
            asked = self.router if self.router is not None else self.worker
            self.info = await asked.info().using(timeout=INFO_WAIT)
        adapters = [ServedModel(adapter, self.info, adapter) for adapter in self.info.adapters]
        return [ServedModel(self.name, self.info), *adapters]

    @dynamo_endpoint()
    async def generate(self, request: TextRequest) -> AsyncIterator[TextDelta]:
        """The answer to a chat or a prompt, as it is made.

        Raises InvalidArgument for what cannot be served: a prompt over the context, an unknown model, tools or a schema
        where there are none.
        """
        tokens = await self._tokens_of(request)
        sampling = self._fitting(request, len(tokens))
        adapter = self._adapter(request.model)
        asked = TokenRequest(
            request_id=request.request_id, tokens=tokens, sampling=sampling, adapter=adapter, salt=request.salt
        )
        writer = _Writer(self.tokenizer, request, tokens, self.tool_call_parser)
        first = True
        async with aclosing(self._migrating(asked)) as deltas:
            async for delta in deltas:
                written = writer.write(delta)
                if first:
                    first, written.prompt_tokens, written.cached = False, len(tokens), delta.cached
                elif not (written.text or written.finish or written.logprobs or written.tokens):
                    continue
                yield written
                if written.finish:
                    return

    @dynamo_endpoint()
    async def embed(self, request: TextRequest) -> Embedding:
        """The embedding of a prompt. Raises InvalidArgument where the model makes none."""
        if adapter := self._adapter(request.model):
            raise InvalidArgument(f"the adapter {adapter!r} makes no embeddings", where="model")
        tokens = await self._tokens_of(request, answer=0)
        asked = TokenRequest(request_id=request.request_id, tokens=tokens)
        avoid: list[int] = []
        for left in reversed(range(MAX_REFUSALS + 1)):
            try:
                async with AsyncExitStack() as held:
                    return Embedding(await (await self._placed("embed", [tokens], asked, avoid, held)), len(tokens))
            except (NoInstances, WorkerLost, EngineError):
                if not left:
                    raise
        raise AssertionError

    # --- what comes in --------------------------------------------------------------------------------------------

    async def _tokens_of(self, request: TextRequest, answer: int = 1) -> list[int]:
        """answer: tokens that must be left for it in the context."""
        if request.tools and not self.tool_call_parser:
            raise InvalidArgument(
                f"{self.name} does not call tools", where="tools", remedy="serve it with Processor.tool_call_parser"
            )
        most = self.info.context
        if request.messages is not None:
            messages = [_plain(message, index) for index, message in enumerate(request.messages)]
            size = _characters(messages) + _characters(request.tools)
            tokens = await self._tokenised(size, self.tokenizer.chat, messages, request.tools, most)
        elif isinstance(request.prompt, str):
            tokens = await self._tokenised(len(request.prompt), self.tokenizer.encode, request.prompt, most)
        else:
            tokens = request.prompt
        if not tokens:
            raise InvalidArgument("the prompt has no tokens", where="prompt", remedy="give it some text")
        if len(tokens) > most - answer:
            raise InvalidArgument(
                f"the prompt has {len(tokens)} tokens, and the context of {self.name} {most}"
                + (" for prompt and answer together" if answer else ""),
                where="messages" if request.messages is not None else "prompt",
                remedy="shorten it",
            )
        if tokens is request.prompt and (wrong := [token for token in tokens if not 0 <= token < self.tokenizer.size]):
            raise InvalidArgument(f"{wrong[0]} is no token of {self.name}", where="prompt")
        return tokens

    async def _tokenised(self, size: int, work: Callable[..., list[int]], *args: Any) -> list[int]:
        """What a tokenizer makes of a text of so many characters."""
        if size < LONG_TEXT:
            return work(*args)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)

    def _fitting(self, request: TextRequest, tokens: int) -> Sampling:
        sampling, room = request.sampling, self.info.context - tokens
        if sampling.max_tokens > room:
            raise InvalidArgument(
                f"{sampling.max_tokens} tokens are asked for; after a prompt of {tokens} the context of {self.name}, "
                f"{self.info.context} tokens, has room for {room}",
                where="max_tokens",
            )
        return sampling if sampling.max_tokens else replace(sampling, max_tokens=room)

    def _adapter(self, model: str) -> str:
        if model == self.name:
            return ""
        if model in self.info.adapters:
            return model
        raise InvalidArgument(f"{model!r} is not served here", where="model", remedy=f"ask for {self.name!r}")

    # --- to the workers -------------------------------------------------------------------------------------------

    async def _migrating(self, request: TokenRequest) -> AsyncGenerator[TokenDelta, None]:
        """The answer of one worker, and after its loss of the next, which goes on where it stopped.

        Where that would be another answer the next one begins again, and what it repeats is left out.
        """
        prompt, answer = request.tokens, list[int]()
        again = _counts_from_the_beginning(request.sampling)
        lost = refused = 0
        avoid: list[int] = []
        while True:
            try:
                async with AsyncExitStack() as held:
                    call = await self._placed("generate", [request], request, avoid, held)
                    deltas = await held.enter_async_context(aclosing(aiter(call)))
                    repeated = 0
                    async for delta in deltas:
                        if again and repeated < len(answer):
                            known = answer[repeated : repeated + len(delta.tokens)]
                            repeated += len(known)
                            if delta.tokens[: len(known)] != known or (delta.finish and repeated < len(answer)):
                                raise _Otherwise("the next worker makes another answer", where=request.request_id)
                            delta.tokens, delta.logprobs = delta.tokens[len(known) :], delta.logprobs[len(known) :]
                            if not delta.tokens and not delta.finish:
                                continue
                        repeated += len(delta.tokens)
                        answer += delta.tokens
                        if not delta.finish:
                            yield delta
                            continue
                        # Read to its end, which comes with the last delta: closed before, it would count as cancelled.
                        with suppress(DynamoError):  # the answer is whole, whatever becomes of its worker
                            async for _ in deltas:
                                pass
                        yield delta
                        return
                raise WorkerLost("the answer of a worker has no end", where=f"request {request.request_id}")
            except _Otherwise:
                raise
            except NoInstances:  # whoever refuses a request has not lost it
                refused += 1
                if refused > MAX_REFUSALS:
                    raise
            except (WorkerLost, EngineError) as error:
                lost += 1
                if lost > self.migration_limit:
                    raise
                trace_note(lost=lost, because=error.code, after=len(answer))
            if len(answer) >= request.sampling.max_tokens:
                yield TokenDelta([], "length")
                return
            name = f"{request.request_id.partition('~')[0]}~{lost + refused}"
            if again:
                request = replace(request, request_id=name)
            else:
                request = replace(request, request_id=name, tokens=prompt + answer, generated=len(answer))

    async def _placed(
        self, endpoint: str, args: list[Any], request: TokenRequest, avoid: list[int], held: AsyncExitStack
    ) -> Any:
        """A call of an endpoint of the worker that the router, or this service's own policy, has chosen for a request.

        held: keeps the router's stream open while the request runs. avoid: gains the instance.
        """
        if self.router is None:
            if avoid:
                await others_than(avoid, self.worker.generate.client)
            return getattr(self.worker, endpoint)(*args).using(policy=_Avoiding(self._policy, avoid))
        places = await held.enter_async_context(aclosing(aiter(self.router.place(request, avoid))))
        place = cast("Placement", await anext(places))
        avoid.append(place.instance_id)
        trace_note(instance=place.instance_id, overlap=place.overlap, blocks=place.blocks)
        path = place.address.rpartition("/")[0]
        client = await self._client(f"{path}/{endpoint}")
        receive = _delta if endpoint == "generate" else None
        return client.call(args, receive=receive, instance_id=place.instance_id)

    async def _client(self, address: str) -> Any:
        if address not in self._clients:
            self._clients[address] = await dynamo_context["runtime"].endpoint(address).client()
        return self._clients[address]


class _Otherwise(WorkerLost):
    """What a lost worker began cannot be gone on with: no other makes the same."""


def _counts_from_the_beginning(sampling: Sampling) -> bool:
    """Whether an engine that knows only the tokens so far would go on otherwise than the one that made them.

    A grammar starts at the first token that an engine makes, so does a seed, and penalties count what it has made.
    """
    certain = sampling.temperature == 0 or sampling.seed is not None
    penalties = sampling.presence_penalty or sampling.frequency_penalty
    return bool(sampling.json_schema or (certain and (sampling.temperature or penalties)))


class _Avoiding:
    """A policy among the workers that a request has not been to, if there are such. avoid: gains what it picks."""

    def __init__(self, policy: Policy, avoid: list[int]) -> None:
        self._policy, self._avoid = policy, avoid

    def pick(self, instances: Sequence[Instance], request: Request) -> Instance:
        others = [each for each in instances if each.instance_id not in self._avoid]
        chosen = self._policy.pick(others or instances, request)
        self._avoid.append(chosen.instance_id)
        return chosen


def _delta(value: Any) -> TokenDelta:
    return convert(value, TokenDelta)


def _characters(value: Any) -> int:
    """How many stand in a message, or whatever it is, at any depth."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(len(key) + _characters(part) for key, part in value.items())
    return sum(map(_characters, value)) if isinstance(value, list) else 0


def _plain(message: dict[str, Any], index: int) -> dict[str, Any]:
    """A message whose content is one text, as chat templates want it."""
    if isinstance(calls := message.get("tool_calls"), list):
        message = {**message, "tool_calls": [_read(call) for call in calls]}
    content = message.get("content")
    if not isinstance(content, list):
        return message
    texts = []
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text":
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            raise InvalidArgument(f"the model reads text, not {kind}", where=f"messages[{index}].content")
        texts.append(str(part.get("text", "")))
    return {**message, "content": "".join(texts)}


def _read(call: Any) -> Any:
    """A call of a tool with its arguments as chat templates want them, which OpenAI's API has as JSON text."""
    try:
        function = call["function"]
        return {**call, "function": {**function, "arguments": json.loads(function["arguments"] or "{}")}}
    except (KeyError, TypeError, ValueError):  # no text, or none of JSON: the template may know what to do
        return call


class _Writer:
    """What one answer's tokens look like as text."""

    def __init__(self, tokenizer: Tokenizer, request: TextRequest, prompt: list[int], tool_call_parser: str) -> None:
        self._tokenizer = tokenizer
        self._text = tokenizer.detokenizer(prompt)
        self._stops = Stops(request.stop)
        most = math.inf if request.parallel_tool_calls else 1
        self._tools = ToolCalls(most) if request.tools and tool_call_parser else None

    def write(self, delta: TokenDelta) -> TextDelta:
        """The text that is sure now. A stop text that is found is the finish, whatever the engine goes on to make."""
        text = self._stops.feed(self._text.feed(delta.tokens))
        finish = delta.finish
        if finish and not self._stops.found:
            text += self._stops.feed(self._text.end())
        if self._stops.found:
            finish = "stop"
        elif finish:
            text += self._stops.end()
        calls: list[dict[str, Any]] = []
        if self._tools is not None:
            text = self._tools.feed(text)
            if finish:
                text += self._tools.end()
            calls = self._tools.taken()
            if finish == "stop" and self._tools.count:
                finish = "tool_calls"
        logprobs = [self._logprob(entry) for entry in delta.logprobs]
        return TextDelta(text, len(delta.tokens), finish, logprobs=logprobs, tool_calls=calls)

    def _logprob(self, entry: list[tuple[int, float]]) -> TextLogprob:
        (token, logprob), *top = entry
        piece = self._tokenizer.piece
        return TextLogprob(*piece(token), logprob, [(*piece(other), value) for other, value in top])
