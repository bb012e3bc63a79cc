"""An engine without a model that behaves like one: slots, a paged prefix cache, and time for prefill and decoding.

Its answer repeats the prompt, so that tests can predict every token. It needs nothing but this package: routing,
migration and overload can be studied on any machine.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Iterable
from hashlib import blake2b
from typing import Any, Final

from dynamo_nb.errors import EngineError, InvalidArgument
from dynamo_nb.llm.cache.log import CacheLog
from dynamo_nb.llm.context_limit import remaining_tokens
from dynamo_nb.llm.engines.echo.options import EchoOptions
from dynamo_nb.llm.engines.echo.paged_cache import PagedCache
from dynamo_nb.llm.engines.echo.schedule import DecodingSchedule
from dynamo_nb.llm.engines.echo.sequence import EchoSequence
from dynamo_nb.llm.features import check_features
from dynamo_nb.llm.messages import Load, ModelInfo, TokenDelta, TokenRequest

BURST: Final = 16  # deltas that a stream without a speed limit yields before other tasks of the event loop run
EMBEDDING_SIZE: Final = 64  # components of an embedding: the bytes of the longest blake2b digest


class EchoEngine:
    """Answers with the prompt's tokens, repeated up to `max_tokens` or the end of the context. Implements Engine.

    A request waits while all slots are in use, or while the cache has no space for its prompt. If a running sequence
    needs a block and none is left, the newest sequence starts again. More tokens than `tokens_per_delta` come together
    if an answer with a speed is read too slowly; an answer without a speed keeps its slot while it is not read.

    Args:
        options: See EchoOptions.
        events: Publish the blocks of the cache to routers.
        adapters: Names of LoRA adapters. They do not change answers, but each has blocks of its own.
        embeddings: Support embeddings, which are computed from the tokens alone.

    Raises:
        EngineError: The cache is too small for `max_model_len`.
    """

    def __init__(
        self,
        options: EchoOptions | None = None,
        *,
        events: bool = True,
        adapters: Iterable[str] = (),
        embeddings: bool = False,
    ) -> None:
        options = options or EchoOptions()
        capacity = options.blocks * options.block_size
        if options.max_model_len > capacity:
            least = math.ceil(options.max_model_len / options.block_size)
            raise EngineError(
                f"a context of {options.max_model_len} tokens does not fit into {options.blocks} blocks of "
                f"{options.block_size}",
                where="EchoEngine",
                remedy=f"set max_model_len to at most {capacity}, or blocks to at least {least}",
            )
        adapters = tuple(adapters)
        optional = {"events": events, "lora": bool(adapters), "embeddings": embeddings}
        features = ("logprobs", "seed", "prefill", *(name for name, enabled in optional.items() if enabled))
        self._info = ModelInfo(
            model=options.model or "echo",
            context=options.max_model_len or capacity,
            block_size=options.block_size,
            total_blocks=options.blocks,
            features=features,
            adapters=adapters,
        )
        self.cache = CacheLog()
        self._pages = PagedCache(options.blocks, self.cache if events else None)
        self._period = options.tokens_per_delta / options.tokens_per_second if options.tokens_per_second else 0.0
        self._prefill_rate = options.prefill_tokens_per_second
        self._tokens_per_delta = options.tokens_per_delta
        self._slots = options.slots
        self._waiting: deque[EchoSequence] = deque()
        self._running: dict[EchoSequence, None] = {}  # the oldest first
        self._prefill: tuple[EchoSequence, asyncio.TimerHandle] | None = None
        self._schedule = DecodingSchedule(self._decode_due)
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def info(self) -> ModelInfo:
        return self._info

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._publish_load()

    async def health(self) -> None:
        self._time()

    async def stop(self) -> None:
        for sequence in [*self._running, *self._waiting]:
            sequence.error = self._not_running()
            self._end(sequence)
        self._schedule.stop()
        self._loop = None
        self._pages.clear()
        self._publish_load()

    def load(self) -> Load:
        return Load(len(self._running), len(self._waiting), self._pages.used, self._pages.blocks)

    async def generate(self, request: TokenRequest) -> AsyncIterator[TokenDelta]:
        sequence = self._sequence(request)
        if sequence.generated >= sequence.limit:
            yield TokenDelta([], "length", cached=0)
            return
        self._enqueue(sequence)
        deltas = 0
        try:
            while True:
                if not self._period and sequence in self._running and not self._is_prefilling(sequence):
                    self._decode(sequence, self._tokens_per_delta)
                if (delta := sequence.take()) is not None:
                    yield delta
                    if delta.finish:
                        return
                    deltas += 1
                    if not self._period and deltas % BURST == 0:
                        await asyncio.sleep(0)
                elif sequence.error is not None:
                    raise sequence.error
                else:
                    await self._change(sequence)
        finally:
            self._end(sequence)

    async def prefill(self, request: TokenRequest) -> dict[str, Any]:
        """Returns `{"blocks": [...]}`, the names of the prompt's full blocks. They cost the other engine no time."""
        sequence = self._sequence(request)
        sequence.limit = 0
        self._enqueue(sequence)
        try:
            while not sequence.finish:
                if sequence.error is not None:
                    raise sequence.error
                await self._change(sequence)
        finally:
            self._end(sequence)
        return {"blocks": sequence.prompt_blocks() if sequence.finish != "abort" else []}

    async def embed(self, tokens: list[int]) -> list[float]:
        """Returns a unit vector; the more tokens two texts share, the closer their vectors are."""
        if "embeddings" not in self._info.features:
            raise InvalidArgument(
                "this engine does not support embeddings",
                where=self._info.model,
                remedy="create the EchoEngine with embeddings=True",
            )
        total = [0.0] * EMBEDDING_SIZE
        for token in tokens:
            digest = blake2b(token.to_bytes(4, "little"), digest_size=EMBEDDING_SIZE).digest()
            total = [component + byte - 127.5 for component, byte in zip(total, digest, strict=True)]
        length = math.hypot(*total) or 1.0
        return [component / length for component in total]

    async def abort(self, request_id: str) -> None:
        for sequence in [*self._running, *self._waiting]:
            if sequence.request.request_id == request_id:
                sequence.finish = "abort"
                self._end(sequence)

    # --- arrival and end of requests ------------------------------------------------------------------------------

    def _time(self) -> float:
        if self._loop is None:
            raise self._not_running()
        return self._loop.time()

    def _not_running(self) -> EngineError:
        return EngineError(
            "the engine is not running", where=self._info.model, remedy="send the request to another worker"
        )

    def _sequence(self, request: TokenRequest) -> EchoSequence:
        remaining = remaining_tokens(request, self._info)
        check_features(request, self._info)
        return EchoSequence(request, self._info.block_size, request.generated + remaining)

    def _enqueue(self, sequence: EchoSequence) -> None:
        now = self._time()
        self._waiting.append(sequence)
        self._admit(now)
        self._publish_load()

    async def _change(self, sequence: EchoSequence) -> None:
        sequence.changed.clear()
        await sequence.changed.wait()

    def _end(self, sequence: EchoSequence) -> None:
        """Frees everything that a sequence holds. Does nothing for a sequence that has ended."""
        if sequence in self._running:
            self._retire(sequence)
        elif sequence in self._waiting:
            self._waiting.remove(sequence)
        else:
            return
        sequence.changed.set()
        if self._loop is not None:
            self._admit(self._loop.time())
        self._publish_load()

    def _retire(self, sequence: EchoSequence) -> None:
        del self._running[sequence]
        if self._prefill is not None and self._prefill[0] is sequence:
            self._prefill[1].cancel()
            self._prefill = None
        self._pages.release(sequence.names, sequence.open_blocks)
        sequence.names, sequence.open_blocks = [], 0
        self._schedule.remove(sequence)

    def _publish_load(self) -> None:
        self.cache.loaded(self.load())

    # --- prefill --------------------------------------------------------------------------------------------------

    def _is_prefilling(self, sequence: EchoSequence) -> bool:
        return self._prefill is not None and self._prefill[0] is sequence

    def _admit(self, now: float) -> None:
        """Starts waiting sequences in order, while a slot and blocks are free and no prompt is being computed."""
        while self._waiting and self._prefill is None and len(self._running) < self._slots:
            sequence = self._waiting[0]
            names = sequence.prompt_blocks()
            local = self._pages.leading(names)
            blocks = math.ceil(len(sequence.tokens) / self._info.block_size)
            if not self._pages.allocate(names[:local], blocks - local):
                return
            self._waiting.popleft()
            self._running[sequence] = None
            sequence.names, sequence.open_blocks = names[:local], blocks - local
            available = local
            transferred = frozenset((sequence.request.transfer or {}).get("blocks", ()))
            while available < len(names) and names[available] in transferred:
                available += 1
            # The last token is always computed: its logits are needed for the first token of the answer.
            cached = min(available * self._info.block_size, len(sequence.tokens) - 1)
            if sequence.cached < 0:
                sequence.cached = cached
            if self._prefill_rate:
                end = now + (len(sequence.tokens) - cached) / self._prefill_rate
                assert self._loop is not None
                timer = self._loop.call_at(end, self._end_prefill, sequence, names, end)
                self._prefill = sequence, timer
            else:
                self._begin_decoding(sequence, names, now)

    def _end_prefill(self, sequence: EchoSequence, names: list[int], end: float) -> None:
        self._prefill = None
        self._begin_decoding(sequence, names, end)
        self._admit(end)
        self._publish_load()

    def _begin_decoding(self, sequence: EchoSequence, names: list[int], now: float) -> None:
        """Publishes the full blocks of a computed prompt, and schedules the first token."""
        new = names[len(sequence.names) :]
        self._pages.fill(new)
        sequence.names += new
        sequence.open_blocks -= len(new)
        sequence.computed = len(sequence.tokens)
        sequence.begin, sequence.steps = now, 0
        if not sequence.limit:
            sequence.finish = "length"
            self._retire(sequence)
        elif self._period:
            self._schedule.add(sequence, now)
        sequence.changed.set()

    # --- decoding -------------------------------------------------------------------------------------------------

    def _decode_due(self, sequence: EchoSequence, now: float) -> None:
        """Generates all tokens that are due, and schedules the next ones."""
        due = max(int((now - sequence.begin) / self._period) + 1 - sequence.steps, 1)
        sequence.steps += due
        self._decode(sequence, due * self._tokens_per_delta)
        sequence.changed.set()
        if sequence in self._running:
            self._schedule.add(sequence, sequence.begin + sequence.steps * self._period)

    def _decode(self, sequence: EchoSequence, tokens: int) -> None:
        """Generates tokens; fewer if the answer ends or the sequence has to start again."""
        size = self._info.block_size
        for _ in range(tokens):
            if sequence.computed < len(sequence.tokens):
                if sequence.computed % size == 0 and not self._grow(sequence):
                    return
                sequence.computed += 1
                if sequence.computed % size == 0:
                    name = sequence.next_block()
                    self._pages.fill([name])
                    sequence.names.append(name)
                    sequence.open_blocks -= 1
            sequence.generate_token()
            if sequence.finish:
                self._end(sequence)
                return

    def _grow(self, sequence: EchoSequence) -> bool:
        """Opens a block. While none is free, the newest sequence starts again; returns False if it is this one."""
        while not self._pages.allocate((), 1):
            newest = next(reversed(self._running))
            self._retire(newest)
            self._waiting.appendleft(newest)
            if newest is sequence:
                self._admit(self._time())
                self._publish_load()
                return False
        sequence.open_blocks += 1
        self._publish_load()
        return True
