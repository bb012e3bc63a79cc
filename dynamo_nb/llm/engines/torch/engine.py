"""The engine that serves a model of transformers with torch, on a GPU or a CPU."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any, Final

from msgspec.structs import replace

from dynamo_nb.errors import EngineError, InvalidArgument
from dynamo_nb.llm.cache.log import CacheLog
from dynamo_nb.llm.context_limit import remaining_tokens
from dynamo_nb.llm.engines.torch.options import TorchOptions
from dynamo_nb.llm.engines.torch.sampling import check_sampling
from dynamo_nb.llm.engines.torch.scheduler import Step, TorchScheduler
from dynamo_nb.llm.engines.torch.sequence import TorchSequence
from dynamo_nb.llm.engines.torch.stream import TorchStream
from dynamo_nb.llm.engines.torch.thread import TorchThread, copy_of
from dynamo_nb.llm.features import check_features
from dynamo_nb.llm.messages import Load, ModelInfo, TokenDelta, TokenRequest
from dynamo_nb.llm.sampling_defaults import completed

FEATURES: Final = ("logprobs", "seed", "logit_bias", "embeddings")


class TorchEngine:
    """Serves a causal language model with transformers and torch, with continuous batching. Implements Engine.

    It keeps no KV cache of a sequence that has ended, so that its CacheLog reports only the load.

    Args:
        options: See TorchOptions.

    Raises:
        EngineError: `slots` or `block_size` is less than 1.
    """

    def __init__(self, options: TorchOptions) -> None:
        if options.slots < 1 or options.block_size < 1:
            raise EngineError(
                f"slots is {options.slots} and block_size is {options.block_size}",
                where="TorchEngine",
                remedy="set both to at least 1",
            )
        self.cache = CacheLog()
        self._options = options
        self._info: ModelInfo | None = None
        self._vocabulary = 0
        self._end_tokens: tuple[int, ...] = ()
        self._sampling: dict[str, Any] = {}
        self._thread: TorchThread | None = None
        self._ready: asyncio.Future[None] | None = None
        self._failure: EngineError | None = None
        self._streams: dict[TorchSequence, TorchStream] = {}
        self._embeddings: set[asyncio.Future[list[float]]] = set()

    @property
    def info(self) -> ModelInfo:
        assert self._info is not None, "the engine has not started"
        return self._info

    # --- start and stop -------------------------------------------------------------------------------------------

    async def start(self) -> None:
        self._ready = asyncio.get_running_loop().create_future()
        self._thread = TorchThread(self._options, self)
        self._thread.start()
        try:
            await self._ready
        except BaseException:
            await self.stop()
            raise
        self._publish_load()

    async def stop(self) -> None:
        thread, self._thread = self._thread, None
        self._end_all(self._not_running())
        if thread is not None:
            await asyncio.to_thread(thread.stop)
        self._publish_load()

    async def health(self) -> None:
        self._running_thread()

    def _running_thread(self) -> TorchThread:
        if self._failure is not None:
            raise copy_of(self._failure)
        if self._thread is None or self._info is None:
            raise self._not_running()
        return self._thread

    def _not_running(self) -> EngineError:
        return EngineError(
            "the engine is not running",
            where=f"model {self._options.model!r}",
            remedy="send the request to another worker",
        )

    def _end_all(self, error: EngineError) -> None:
        for stream in self._streams.values():
            stream.fail(error)
        for embedding in self._embeddings:
            if not embedding.done():
                embedding.set_exception(copy_of(error))

    # --- callbacks from the thread, on the event loop -------------------------------------------------------------

    def loaded(self, context: int, vocabulary: int, end_tokens: tuple[int, ...], sampling: dict[str, Any]) -> None:
        """See Listener."""
        self._vocabulary, self._end_tokens, self._sampling = vocabulary, end_tokens, sampling
        self._info = ModelInfo(
            model=self._options.model,
            context=context,
            block_size=self._options.block_size,
            total_blocks=self._options.slots * self._blocks(context),
            features=FEATURES,
        )
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    def stepped(self, step: Step) -> None:
        """See Listener."""
        for sequence in step.started:
            if (stream := self._streams.get(sequence)) is not None:
                stream.running = True
        for sequence, tokens, logprobs, finish in step.results:
            if (stream := self._streams.get(sequence)) is not None:
                stream.add(tokens, logprobs, finish)
        self._publish_load()

    def failed(self, error: EngineError) -> None:
        """See Listener."""
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(error)
        self._failure = error
        self._end_all(error)

    # --- requests -------------------------------------------------------------------------------------------------

    async def generate(self, request: TokenRequest) -> AsyncGenerator[TokenDelta, None]:
        thread = self._running_thread()
        request = replace(request, sampling=completed(request.sampling, self._sampling))
        remaining = self._remaining_tokens(request)
        if not remaining:
            yield TokenDelta([], "length", cached=0)
            return
        sequence = TorchSequence(request, remaining, self._end_tokens, self._vocabulary)
        stream = self._streams[sequence] = TorchStream(request.request_id)
        thread.put(partial(TorchScheduler.add, sequence=sequence))
        self._publish_load()
        try:
            while True:
                if (delta := stream.take()) is not None:
                    yield delta
                    if delta.finish:
                        return
                elif stream.error is not None:
                    raise copy_of(stream.error)
                else:
                    await stream.changed.wait()
        finally:
            del self._streams[sequence]
            thread.put(partial(TorchScheduler.drop, sequence=sequence))
            self._publish_load()

    async def prefill(self, request: TokenRequest) -> dict[str, Any]:
        self._remaining_tokens(request)
        raise InvalidArgument(
            "the engine has no connector to transfer its KV cache", where="prefill", remedy="use VllmEngine"
        )

    async def embed(self, tokens: list[int]) -> list[float]:
        """Returns the mean of the last hidden states, as a unit vector."""
        thread = self._running_thread()
        self._remaining_tokens(TokenRequest(request_id="embed", tokens=tokens), reserved=0)
        result: asyncio.Future[list[float]] = asyncio.get_running_loop().create_future()

        def finish(vector: list[float]) -> None:
            if not result.done():
                result.set_result(vector)

        def compute(scheduler: TorchScheduler) -> bool:
            if result.cancelled():
                return False
            thread.call_on_loop(finish, scheduler.model.embedding(tokens))
            return True

        self._embeddings.add(result)
        thread.put(compute)
        try:
            return await result
        finally:
            self._embeddings.discard(result)

    async def abort(self, request_id: str) -> None:
        for sequence, stream in self._streams.items():
            if stream.request_id == request_id and not stream.finish and self._thread is not None:
                stream.add([], [], "abort")
                self._thread.put(partial(TorchScheduler.drop, sequence=sequence))
        self._publish_load()

    def _remaining_tokens(self, request: TokenRequest, reserved: int = 1) -> int:
        """The number of tokens that may be generated. Raises InvalidArgument for a request that cannot be served."""
        remaining = remaining_tokens(request, self.info, reserved=reserved)
        for token in (min(request.tokens), max(request.tokens)):
            self._check_token(token, "tokens")
        for token in request.sampling.logit_bias:
            self._check_token(token, "logit_bias")
        check_features(request, self.info)
        if request.transfer is not None:
            raise InvalidArgument(
                "this engine cannot use a KV cache from another worker",
                where=f"request {request.request_id}",
                remedy="do not link a prefill worker to this worker",
            )
        check_sampling(request.sampling)
        return remaining

    def _check_token(self, token: int, where: str) -> None:
        if not 0 <= token < self._vocabulary:
            raise InvalidArgument(f"token id {token} is not in the vocabulary of {self.info.model}", where=where)

    # --- load -----------------------------------------------------------------------------------------------------

    def load(self) -> Load:
        active = [(sequence, stream) for sequence, stream in self._streams.items() if not stream.finish]
        running = [sequence for sequence, stream in active if stream.running]
        used = sum(self._blocks(len(sequence.tokens)) for sequence in running)
        total = self._info.total_blocks if self._info is not None else 0
        return Load(len(running), len(active) - len(running), used, total)

    def _blocks(self, tokens: int) -> int:
        return math.ceil(tokens / self._options.block_size)

    def _publish_load(self) -> None:
        self.cache.loaded(self.load())
