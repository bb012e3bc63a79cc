"""The service between text and tokens: applies templates, tokenises, calls workers, detokenises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from typing import Any, Final, Literal

from msgspec.structs import replace

from dynamo_nb.errors import DynamoError, InvalidArgument
from dynamo_nb.llm.context_limit import check_prompt
from dynamo_nb.llm.interfaces import NAMESPACE, TextProcessor, TokenRouter, TokenWorker
from dynamo_nb.llm.messages import Embedding, ModelInfo, ServedModel, TextDelta, TextRequest, TokenRequest
from dynamo_nb.llm.migration import embed_with_retry, generate_with_migration
from dynamo_nb.llm.model_folder import check_folder
from dynamo_nb.llm.text.chat_template import check_variables, template_text
from dynamo_nb.llm.text.chats import characters
from dynamo_nb.llm.text.prompt_echo import PromptEcho
from dynamo_nb.llm.text.tokenizer import Tokenizer
from dynamo_nb.llm.text.tools import forced_calls
from dynamo_nb.llm.text.writer import Writer, with_stop_tokens
from dynamo_nb.llm.worker_calls import RoutingPolicy, WorkerCalls
from dynamo_nb.runtime import POLICIES
from dynamo_nb.sdk import async_on_shutdown, async_on_start, depends, dynamo_endpoint, service

LONG_TEXT: Final = 4096  # characters from which a thread tokenises a text, so that other requests need not wait
LONG_AT_ONCE: Final = 4  # threads for that: each occupies a core, and cannot be stopped when its client has gone
INFO_WAIT: Final = 1.0  # seconds for the workers to report their model
MIGRATION_LIMIT: Final = 3  # workers that one request may lose by default


@service(dynamo={"namespace": NAMESPACE})
class Processor(TextProcessor):
    """Turns chats and prompts into tokens for workers, and the workers' tokens into text.

    If a TokenRouter is linked, it chooses the worker for each request. Otherwise the Processor chooses among the
    workers of the linked TokenWorker, by its option `router`.
    """

    worker = depends(TokenWorker)
    router = depends(TokenRouter)

    def __init__(
        self,
        model: str = "",
        served_model_name: str = "",
        router: RoutingPolicy = "round-robin",
        migration_limit: int = MIGRATION_LIMIT,
        tool_call_parser: Literal["", "hermes"] = "",
        chat_template: str = "",
        chat_template_kwargs: dict[str, Any] | None = None,
    ) -> None:
        """Configures the service.

        Args:
            model: Folder or name of the model whose tokenizer is used; "" for the workers' model.
            served_model_name: The name of the model in requests; "" for `model`.
            router: Policy by which a worker is chosen; "kv" requires a linked Router.
            migration_limit: Number of workers that one request may lose before it fails.
            tool_call_parser: The format of the model's tool calls; "" if it cannot call tools.
            chat_template: The text of a Jinja template for chats, or the path of its file on the worker's machine; ""
                for that of the model.
            chat_template_kwargs: Variables of the chat template, such as `enable_thinking`. Those of a request win.

        Raises:
            InvalidArgument: A variable has a reserved name.
            DynamoError: `router` is "kv" and no Router is linked.
        """
        self.model, self.name = model, served_model_name
        self.migration_limit, self.tool_call_parser = migration_limit, tool_call_parser
        self.chat_template, self.chat_template_kwargs = chat_template, chat_template_kwargs or {}
        check_variables(self.chat_template_kwargs)
        policies = {name.replace("_", "-"): create for name, create in POLICIES.items()}
        self._workers = WorkerCalls(self.worker, self.router, policies.get(router, POLICIES["round_robin"])())
        if router == "kv" and self.router is None:
            raise DynamoError(
                "Processor.router is 'kv', but no Router is linked",
                where="Processor.router",
                remedy="link a Router: Processor.link(Router).link(…); or set random, round-robin or least-loaded",
            )

    @classmethod
    def dynamo_check_config(
        cls,
        model: str = "",
        chat_template: str = "",
        chat_template_kwargs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Checks the configuration without a download. Raises the errors of a worker's start."""
        check_variables(chat_template_kwargs or {})
        if check_folder(model, "Processor.model"):
            Tokenizer(model, chat_template)
        elif chat_template:
            template_text(chat_template)

    @async_on_start
    async def load(self) -> None:
        self.info: ModelInfo = await self._workers.info()
        self.model = self.model or self.info.model
        self.name = self.name or self.model
        self.tokenizer = await asyncio.to_thread(Tokenizer, self.model, self.chat_template)
        self._threads = ThreadPoolExecutor(LONG_AT_ONCE)

    @async_on_shutdown
    async def end(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    @dynamo_endpoint()
    async def models(self) -> list[ServedModel]:
        """Returns the names that requests may use, with the workers' current adapters."""
        with suppress(DynamoError):  # no worker is running: the last known adapters may come back
            self.info = await self._workers.info(INFO_WAIT)
        adapters = [ServedModel(adapter, self.info, adapter) for adapter in self.info.adapters]
        return [ServedModel(self.name, self.info), *adapters]

    @dynamo_endpoint()
    async def generate(self, request: TextRequest) -> AsyncIterator[TextDelta]:
        """Streams the answer to a chat or a prompt.

        Args:
            request: The request.

        Raises:
            InvalidArgument: The request cannot be served: the prompt is too long, the model is unknown, the model does
                not support tools or schemas.
        """
        tokens = await self._tokens_of(request)
        self._check_limit(request.sampling.max_tokens, len(tokens))
        sampling = with_stop_tokens(request.sampling, request.stop, self.tokenizer)
        if request.forced_tools:
            form = forced_calls(request.tools, request.forced_tools, many=request.parallel_tool_calls)
            sampling = replace(sampling, structure=form)
        echo = PromptEcho(self.tokenizer, request, tokens)
        if request.prompt_only:
            if sampling.prompt_logprobs is None:
                yield TextDelta(echo.text, 0, "length", len(tokens), 0)
                return
            sampling = replace(sampling, max_tokens=1)  # engines generate at least one
        adapter = self._adapter(request.model)
        token_request = TokenRequest(
            request_id=request.request_id, tokens=tokens, sampling=sampling, adapter=adapter, salt=request.salt
        )
        writer = Writer(self.tokenizer, request, tokens, self.tool_call_parser)
        first = True
        async with aclosing(generate_with_migration(self._workers, token_request, self.migration_limit)) as deltas:
            async for delta in deltas:
                written = writer.write(delta)
                if first:
                    if request.prompt_only:
                        written = TextDelta("", 0, "length")
                    first, written.prompt_tokens, written.cached = False, len(tokens), delta.cached
                    echo.add(written, delta)
                elif not (written.text or written.finish or written.logprobs or written.tokens):
                    continue
                yield written
                if written.finish:
                    return

    @dynamo_endpoint()
    async def embed(self, request: TextRequest) -> Embedding:
        """Returns the embedding of a prompt.

        Args:
            request: The request.

        Raises:
            InvalidArgument: The prompt is too long, or the model does not support embeddings.
        """
        if adapter := self._adapter(request.model):
            raise InvalidArgument(f"the adapter {adapter!r} does not support embeddings", where="model")
        tokens = await self._tokens_of(request, answer=0)
        token_request = TokenRequest(request_id=request.request_id, tokens=tokens)
        return Embedding(await embed_with_retry(self._workers, token_request), len(tokens))

    async def _tokens_of(self, request: TextRequest, answer: int = 1) -> list[int]:
        """The tokens of the prompt. answer: tokens that it must leave in the context."""
        if request.tools and not self.tool_call_parser:
            raise InvalidArgument(
                f"{self.name} does not support tools", where="tools", remedy="set Processor.tool_call_parser"
            )
        context = self.info.context
        if request.messages is not None:
            variables = self.chat_template_kwargs | request.chat_template_kwargs
            size = characters(request.messages) + characters(request.tools) + characters(variables)
            chat = (request.messages, request.tools, context, variables)
            tokens = await self._tokenised(size, self.tokenizer.chat, *chat)
        elif isinstance(request.prompt, str):
            tokens = await self._tokenised(len(request.prompt), self.tokenizer.encode, request.prompt, context)
        else:
            tokens = request.prompt
        param = "messages" if request.messages is not None else "prompt"
        check_prompt(len(tokens), self.info, model=self.name, param=param, reserved=answer)
        if tokens is request.prompt and (invalid := [t for t in tokens if not 0 <= t < self.tokenizer.size]):
            raise InvalidArgument(f"token id {invalid[0]} is not in the vocabulary of {self.name}", where="prompt")
        return tokens

    async def _tokenised(self, size: int, tokenise: Callable[..., list[int]], *args: Any) -> list[int]:
        """The result of a tokenizer. size: characters of the text."""
        if size < LONG_TEXT:
            return tokenise(*args)
        return await asyncio.get_running_loop().run_in_executor(self._threads, tokenise, *args)

    def _check_limit(self, max_tokens: int, tokens: int) -> None:
        """Raises InvalidArgument if an answer of the requested length does not fit into the context."""
        remaining = self.info.context - tokens
        if max_tokens > remaining:
            raise InvalidArgument(
                f"max_tokens is too large: {max_tokens}. The context length of {self.name} is "
                f"{self.info.context} tokens; a prompt of {tokens} leaves {remaining} for the answer",
                where="max_tokens",
            )

    def _adapter(self, model: str) -> str:
        if model == self.name:
            return ""
        if model in self.info.adapters:
            return model
        raise InvalidArgument(f"the model {model!r} is not served here", where="model", remedy=f"use {self.name!r}")
