"""The service between text and tokens: templates, tokenises, places, detokenises, and migrates."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from typing import Any, Final, Literal

from msgspec.structs import replace

from dynamo_nb.errors import DynamoError, InvalidArgument
from dynamo_nb.llm.interfaces import TextProcessor, TokenRouter, TokenWorker
from dynamo_nb.llm.messages import Embedding, ModelInfo, Sampling, ServedModel, TextDelta, TextRequest, TokenRequest
from dynamo_nb.llm.migration import embedded, generated
from dynamo_nb.llm.text.chats import characters, plain
from dynamo_nb.llm.text.tokens import Tokenizer
from dynamo_nb.llm.text.writer import Writer
from dynamo_nb.llm.worker import NAMESPACE
from dynamo_nb.llm.worker_calls import Placing
from dynamo_nb.runtime import POLICIES
from dynamo_nb.sdk import async_on_shutdown, async_on_start, depends, dynamo_endpoint, service

LONG_TEXT: Final = 4096  # characters from which tokenising is left to a thread, so that nobody else waits for it
LONG_AT_ONCE: Final = 4  # such texts: each takes a core, and a thread ends its work also when nobody waits for it
INFO_WAIT: Final = 1.0  # seconds for the workers to say what they serve
MIGRATION_LIMIT: Final = 3  # workers that one request may lose by default


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
        self._placing = Placing(self.worker, self.router, named.get(router, POLICIES["round_robin"])())
        if router == "kv" and self.router is None:
            raise DynamoError(
                "Processor.router is 'kv', and no Router is linked",
                where="Processor.router",
                remedy="link one: Processor.link(Router).link(…), or choose random, round-robin or least-loaded",
            )

    @async_on_start
    async def load(self) -> None:
        self.info: ModelInfo = await self._placing.info()
        self.model = self.model or self.info.model
        self.name = self.name or self.model
        self.tokenizer = await asyncio.to_thread(Tokenizer, self.model)
        self._threads = ThreadPoolExecutor(LONG_AT_ONCE)

    @async_on_shutdown
    async def end(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    @dynamo_endpoint()
    async def models(self) -> list[ServedModel]:
        """The names by which requests may ask for it, as the workers have them now."""
        with suppress(DynamoError):  # none is there: what they had may come again
            self.info = await self._placing.info(INFO_WAIT)
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
        writer = Writer(self.tokenizer, request, tokens, self.tool_call_parser)
        first = True
        async with aclosing(generated(self._placing, asked, self.migration_limit)) as deltas:
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
        return Embedding(await embedded(self._placing, asked), len(tokens))

    async def _tokens_of(self, request: TextRequest, answer: int = 1) -> list[int]:
        """answer: tokens that must be left for it in the context."""
        if request.tools and not self.tool_call_parser:
            raise InvalidArgument(
                f"{self.name} does not call tools", where="tools", remedy="serve it with Processor.tool_call_parser"
            )
        most = self.info.context
        if request.messages is not None:
            messages = [plain(message, index) for index, message in enumerate(request.messages)]
            size = characters(messages) + characters(request.tools)
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
