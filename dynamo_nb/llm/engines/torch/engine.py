"""The engine that serves a model of transformers with torch: on a GPU or a CPU, with nothing else to install."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any, Final

from dynamo_nb.errors import EngineError, InvalidArgument
from dynamo_nb.llm.cache.log import CacheLog
from dynamo_nb.llm.engines.context_limit import room
from dynamo_nb.llm.engines.torch.model import TorchOptions
from dynamo_nb.llm.engines.torch.sampling import check_sampling
from dynamo_nb.llm.engines.torch.scheduler import Step, TorchScheduler
from dynamo_nb.llm.engines.torch.sequence import TorchSequence
from dynamo_nb.llm.engines.torch.thread import TorchThread
from dynamo_nb.llm.messages import Load, Logprobs, ModelInfo, TokenDelta, TokenRequest

FEATURES: Final = ("logprobs", "seed", "embeddings")


class _Stream:
    """What has been made of an answer and was not read yet."""

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.running = False
        self.finish = ""
        self.error: EngineError | None = None
        self.news = asyncio.Event()
        self._tokens: list[int] = []
        self._logprobs: list[Logprobs] = []
        self._first = True

    def hear(self, tokens: list[int], logprobs: list[Logprobs], finish: str) -> None:
        """What comes after an end is not part of the answer."""
        if not self.finish:
            self._tokens += tokens
            self._logprobs += logprobs
            self.finish = finish
            self.news.set()

    def fail(self, error: EngineError) -> None:
        self.error = error
        self.news.set()

    def take(self) -> TokenDelta | None:
        """What there is; None for nothing."""
        self.news.clear()
        if not self._tokens and not self.finish:
            return None
        delta = TokenDelta(self._tokens, self.finish, self._logprobs, cached=0 if self._first else -1)
        self._tokens, self._logprobs, self._first = [], [], False
        return delta


class TorchEngine:
    """Serves a causal language model with transformers and torch, many sequences at once. Implements Engine.

    slots: sequences that run at once; others wait in the order of their arrival. block_size: tokens of a block, of
    which it has none but in its Load. For the others, see TorchOptions.

    It keeps nothing of a sequence that has ended, so that its CacheLog tells of its load alone. Raises EngineError
    where slots or block_size are no numbers of any.
    """

    def __init__(
        self,
        model: str,
        *,
        context: int = 0,
        dtype: str = "auto",
        device: str = "",
        slots: int = 8,
        block_size: int = 16,
        threads: int = 0,
    ) -> None:
        if slots < 1 or block_size < 1:
            raise EngineError(f"{slots} slots, and blocks of {block_size} tokens", where="TorchEngine", remedy="give 1")
        self.cache = CacheLog()
        self._options = TorchOptions(model=model, dtype=dtype, device=device, threads=threads, context=context)
        self._slots, self._block_size = slots, block_size
        self._info: ModelInfo | None = None
        self._vocabulary = 0
        self._ends: tuple[int, ...] = ()
        self._thread: TorchThread | None = None
        self._ready: asyncio.Future[None] | None = None
        self._failure: EngineError | None = None
        self._streams: dict[TorchSequence, _Stream] = {}
        self._embeddings: set[asyncio.Future[list[float]]] = set()

    @property
    def info(self) -> ModelInfo:
        assert self._info is not None, "the engine has not started"
        return self._info

    # --- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        self._ready = asyncio.get_running_loop().create_future()
        self._thread = TorchThread(self._options, self._slots, self)
        self._thread.start()
        try:
            await self._ready
        except BaseException:
            await self.stop()
            raise
        self._tell()

    async def stop(self) -> None:
        thread, self._thread = self._thread, None
        self._end(self._not_running())
        if thread is not None:
            await asyncio.to_thread(thread.stop)
        self._tell()

    async def health(self) -> None:
        self._running()

    def _running(self) -> TorchThread:
        if self._failure is not None:
            raise _again(self._failure)
        if self._thread is None or self._info is None:
            raise self._not_running()
        return self._thread

    def _not_running(self) -> EngineError:
        return EngineError(
            "the engine does not run", where=f"model {self._options.model!r}", remedy="send the request elsewhere"
        )

    def _end(self, error: EngineError) -> None:
        for stream in self._streams.values():
            stream.fail(error)
        for embedding in self._embeddings:
            if not embedding.done():
                embedding.set_exception(_again(error))

    # --- what the thread tells, on the event loop -----------------------------------------------------------------

    def loaded(self, context: int, vocabulary: int, ends: tuple[int, ...]) -> None:
        """See Listener."""
        self._vocabulary, self._ends = vocabulary, ends
        self._info = ModelInfo(
            model=self._options.model,
            context=context,
            block_size=self._block_size,
            total_blocks=self._slots * self._blocks(context),
            features=FEATURES,
        )
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    def stepped(self, step: Step) -> None:
        """See Listener."""
        for sequence in step.begun:
            if (stream := self._streams.get(sequence)) is not None:
                stream.running = True
        for sequence, tokens, logprobs, finish in step.made:
            if (stream := self._streams.get(sequence)) is not None:
                stream.hear(tokens, logprobs, finish)
        self._tell()

    def failed(self, error: EngineError) -> None:
        """See Listener."""
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(error)
        self._failure = error
        self._end(error)

    # --- work -----------------------------------------------------------------------------------------------------

    async def generate(self, request: TokenRequest) -> AsyncGenerator[TokenDelta, None]:
        thread = self._running()
        left = self._room(request)
        if not left:
            yield TokenDelta([], "length", cached=0)
            return
        sequence = TorchSequence(request, left, self._ends, self._vocabulary)
        stream = self._streams[sequence] = _Stream(request.request_id)
        thread.put(partial(TorchScheduler.add, sequence=sequence))
        self._tell()
        try:
            while True:
                if (delta := stream.take()) is not None:
                    yield delta
                    if delta.finish:
                        return
                elif stream.error is not None:
                    raise _again(stream.error)
                else:
                    await stream.news.wait()
        finally:
            del self._streams[sequence]
            thread.put(partial(TorchScheduler.drop, sequence=sequence))
            self._tell()

    async def prefill(self, request: TokenRequest) -> dict[str, Any]:
        self._room(request)
        raise InvalidArgument(
            "the engine cannot hand its cache over: it has no connector", where="prefill", remedy="use VllmEngine"
        )

    async def embed(self, tokens: list[int]) -> list[float]:
        """The mean of the last hidden states, as a unit vector."""
        thread = self._running()
        self._room(TokenRequest(request_id="embed", tokens=tokens), least=0)
        answer: asyncio.Future[list[float]] = asyncio.get_running_loop().create_future()

        def answered(vector: list[float]) -> None:
            if not answer.done():
                answer.set_result(vector)

        def work(scheduler: TorchScheduler) -> bool:
            if answer.cancelled():
                return False
            thread.tell(answered, scheduler.model.embedding(tokens))
            return True

        self._embeddings.add(answer)
        thread.put(work)
        try:
            return await answer
        finally:
            self._embeddings.discard(answer)

    async def abort(self, request_id: str) -> None:
        for sequence, stream in self._streams.items():
            if stream.request_id == request_id and not stream.finish and self._thread is not None:
                stream.hear([], [], "abort")
                self._thread.put(partial(TorchScheduler.drop, sequence=sequence))
        self._tell()

    def _room(self, request: TokenRequest, least: int = 1) -> int:
        """How many tokens may be made. Raises InvalidArgument for what cannot be served. least: see `room`."""
        left = room(request, self.info, least)
        where = f"request {request.request_id}"
        for token in (min(request.tokens), max(request.tokens)):
            if not 0 <= token < self._vocabulary:
                raise InvalidArgument(f"{token} is no token of {self.info.model}", where="tokens")
        if request.sampling.json_schema:
            raise InvalidArgument(
                "this engine cannot follow a JSON schema", where=where, remedy="ask without one, or use another engine"
            )
        if request.transfer is not None:
            raise InvalidArgument(
                "this engine cannot take a KV cache over", where=where, remedy="link no prefill worker to it"
            )
        check_sampling(request.sampling)
        return left

    # --- load -----------------------------------------------------------------------------------------------------

    def load(self) -> Load:
        going = [(sequence, stream) for sequence, stream in self._streams.items() if not stream.finish]
        running = [sequence for sequence, stream in going if stream.running]
        used = sum(self._blocks(len(sequence.tokens)) for sequence in running)
        total = self._info.total_blocks if self._info is not None else 0
        return Load(len(running), len(going) - len(running), used, total)

    def _blocks(self, tokens: int) -> int:
        return math.ceil(tokens / self._block_size)

    def _tell(self) -> None:
        self.cache.loaded(self.load())


def _again(error: EngineError) -> EngineError:
    """The same for one more who raises it: each has a traceback of its own."""
    return EngineError(error.what, where=error.where, remedy=error.remedy)
