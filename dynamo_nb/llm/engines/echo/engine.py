"""An engine without a model that behaves like one: slots, a paged prefix cache, prefill and decoding that take time.

It answers with the prompt, again and again, so that every token of an answer can be foretold, and needs nothing but
this package: routing, migration and overload can be studied on any machine.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Iterable
from hashlib import blake2b
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any, Final

from dynamo_nb.errors import EngineError, InvalidArgument
from dynamo_nb.llm.cache.log import CacheLog
from dynamo_nb.llm.engines.context_limit import room
from dynamo_nb.llm.engines.echo.paged_cache import PagedCache
from dynamo_nb.llm.engines.echo.sequence import EchoSequence
from dynamo_nb.llm.messages import Load, ModelInfo, TokenDelta, TokenRequest

BURST: Final = 16  # deltas that a stream without a rate gives before the loop's other work has its turn
EMBEDDING: Final = 64  # components of an embedding: the bytes of the longest blake2b digest


class EchoEngine:
    """Answers with the prompt's tokens, over and over, up to `max_tokens` or the context.

    model: told as `ModelInfo.model`: where the tokenizer comes from.
    tokens_per_second: of one stream; 0 for as fast as it is read (a stream that nobody reads then keeps its slot).
    prefill_tokens_per_second: of the engine, which computes one prompt after the other; 0 for no time at all.
    tokens_per_delta: how many come at once. More of them do when a stream with a rate is read too slowly.
    block_size, blocks: the KV cache. slots: sequences that run at once; others wait in the order of their arrival, as
    they do for room in the cache. A running sequence that finds no block left makes the newest one start again.
    context: tokens of prompt and answer together; 0 for all that the cache has room for.
    events: whether routers are told which blocks are held. adapters: names of LoRA adapters, which change no answer
    but have caches of their own. embeddings: whether texts have embeddings, made of nothing but their tokens.

    Raises EngineError where the cache is too small for the context.
    """

    def __init__(
        self,
        model: str = "echo",
        *,
        tokens_per_second: float = 0.0,
        prefill_tokens_per_second: float = 0.0,
        tokens_per_delta: int = 1,
        block_size: int = 16,
        blocks: int = 1024,
        slots: int = 64,
        context: int = 0,
        events: bool = True,
        adapters: Iterable[str] = (),
        embeddings: bool = False,
    ) -> None:
        room = blocks * block_size
        if context > room:
            raise EngineError(
                f"a context of {context} tokens does not fit into {blocks} blocks of {block_size}",
                where="EchoEngine",
                remedy=f"give it a context of at most {room}, or at least {math.ceil(context / block_size)} blocks",
            )
        adapters = tuple(adapters)
        also = {"events": events, "lora": bool(adapters), "embeddings": embeddings}
        features = ("logprobs", "seed", "prefill", *(name for name, there in also.items() if there))
        self._info = ModelInfo(
            model=model,
            context=context or room,
            block_size=block_size,
            total_blocks=blocks,
            features=features,
            adapters=adapters,
        )
        self.cache = CacheLog()
        self._pages = PagedCache(blocks, self.cache if events else None)
        self._period = tokens_per_delta / tokens_per_second if tokens_per_second else 0.0
        self._prefill_rate = prefill_tokens_per_second
        self._tokens_per_delta = tokens_per_delta
        self._slots = slots
        self._waiting: deque[EchoSequence] = deque()
        self._running: dict[EchoSequence, None] = {}  # the oldest first
        self._prefill: tuple[EchoSequence, asyncio.TimerHandle] | None = None
        self._schedule: list[tuple[float, int, EchoSequence]] = []  # a heap: when each running one moves on
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._order = count()  # between those that are due at the same time
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def info(self) -> ModelInfo:
        return self._info

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tell()

    async def health(self) -> None:
        self._time()

    async def stop(self) -> None:
        for sequence in [*self._running, *self._waiting]:
            sequence.error = self._stopped()
            self._end(sequence)
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = None, math.inf
        self._loop = None
        self._pages.clear()
        self._tell()

    def load(self) -> Load:
        return Load(len(self._running), len(self._waiting), self._pages.used, self._pages.blocks)

    async def generate(self, request: TokenRequest) -> AsyncIterator[TokenDelta]:
        sequence = self._sequence(request)
        if sequence.made >= sequence.limit:
            yield TokenDelta([], "length", cached=0)
            return
        self._queue(sequence)
        given = 0
        try:
            while True:
                if not self._period and sequence in self._running and not self._prefilling(sequence):
                    self._advance(sequence, self._tokens_per_delta)
                if (delta := sequence.take()) is not None:
                    yield delta
                    if delta.finish:
                        return
                    given += 1
                    if not self._period and given % BURST == 0:
                        await asyncio.sleep(0)
                elif sequence.error is not None:
                    raise sequence.error
                else:
                    await self._change(sequence)
        finally:
            self._end(sequence)

    async def prefill(self, request: TokenRequest) -> dict[str, Any]:
        """`{"blocks": [...]}`: the names of the prompt's full blocks, which cost the other engine no time."""
        sequence = self._sequence(request)
        sequence.limit = 0
        self._queue(sequence)
        try:
            while not sequence.finish:
                if sequence.error is not None:
                    raise sequence.error
                await self._change(sequence)
        finally:
            self._end(sequence)
        return {"blocks": sequence.prompt_blocks() if sequence.finish != "abort" else []}

    async def embed(self, tokens: list[int]) -> list[float]:
        """A unit vector; the more tokens two texts share, the nearer they are."""
        if "embeddings" not in self._info.features:
            raise InvalidArgument(
                "this engine makes no embeddings", where=self._info.model, remedy="give the EchoEngine embeddings=True"
            )
        total = [0.0] * EMBEDDING
        for token in tokens:
            digest = blake2b(token.to_bytes(4, "little"), digest_size=EMBEDDING).digest()
            total = [component + byte - 127.5 for component, byte in zip(total, digest, strict=True)]
        length = math.hypot(*total) or 1.0
        return [component / length for component in total]

    async def abort(self, request_id: str) -> None:
        for sequence in [*self._running, *self._waiting]:
            if sequence.request.request_id == request_id:
                sequence.finish = "abort"
                self._end(sequence)

    # --- requests that come and go -------------------------------------------------------------------------------

    def _time(self) -> float:
        if self._loop is None:
            raise self._stopped()
        return self._loop.time()

    def _stopped(self) -> EngineError:
        return EngineError("the engine does not run", where=self._info.model, remedy="send the request elsewhere")

    def _sequence(self, request: TokenRequest) -> EchoSequence:
        left = room(request, self._info)
        if request.sampling.json_schema:
            raise InvalidArgument(
                "this engine cannot follow a JSON schema",
                where=f"request {request.request_id}",
                remedy="ask without one, or use another engine",
            )
        return EchoSequence(request, self._info.block_size, request.generated + left)

    def _queue(self, sequence: EchoSequence) -> None:
        now = self._time()
        self._waiting.append(sequence)
        self._admit(now)
        self._tell()

    async def _change(self, sequence: EchoSequence) -> None:
        sequence.news.clear()
        await sequence.news.wait()

    def _end(self, sequence: EchoSequence) -> None:
        """Frees all that a sequence has, wherever it stands; for one that has ended, nothing happens."""
        if sequence in self._running:
            self._retire(sequence)
        elif sequence in self._waiting:
            self._waiting.remove(sequence)
        else:
            return
        sequence.news.set()
        if self._loop is not None:
            self._admit(self._loop.time())
        self._tell()

    def _retire(self, sequence: EchoSequence) -> None:
        del self._running[sequence]
        if self._prefill is not None and self._prefill[0] is sequence:
            self._prefill[1].cancel()
            self._prefill = None
        self._pages.release(sequence.names, sequence.taken)
        sequence.names, sequence.taken = [], 0
        self._schedule = [entry for entry in self._schedule if entry[2] is not sequence]
        heapify(self._schedule)

    def _tell(self) -> None:
        self.cache.loaded(self.load())

    # --- prefill -------------------------------------------------------------------------------------------------

    def _prefilling(self, sequence: EchoSequence) -> bool:
        return self._prefill is not None and self._prefill[0] is sequence

    def _admit(self, now: float) -> None:
        """Lets those that wait begin, in order, while there are slots, room, and time to compute their prompts."""
        while self._waiting and self._prefill is None and len(self._running) < self._slots:
            sequence = self._waiting[0]
            names = sequence.prompt_blocks()
            held = self._pages.held(names)
            blocks = math.ceil(len(sequence.tokens) / self._info.block_size)
            if not self._pages.hold(names[:held], blocks - held):
                return
            self._waiting.popleft()
            self._running[sequence] = None
            sequence.names, sequence.taken = names[:held], blocks - held
            there = held
            given = frozenset((sequence.request.transfer or {}).get("blocks", ()))
            while there < len(names) and names[there] in given:
                there += 1
            # The last token is computed in any case: what comes after it is asked for.
            cached = min(there * self._info.block_size, len(sequence.tokens) - 1)
            if sequence.cached < 0:
                sequence.cached = cached
            if self._prefill_rate:
                end = now + (len(sequence.tokens) - cached) / self._prefill_rate
                assert self._loop is not None
                timer = self._loop.call_at(end, self._prefill_ends, sequence, names, end)
                self._prefill = sequence, timer
            else:
                self._decode(sequence, names, now)

    def _prefill_ends(self, sequence: EchoSequence, names: list[int], end: float) -> None:
        self._prefill = None
        self._decode(sequence, names, end)
        self._admit(end)
        self._tell()

    def _decode(self, sequence: EchoSequence, names: list[int], now: float) -> None:
        """The prompt is computed: its full blocks can be used by others, and the first token is due."""
        new = names[len(sequence.names) :]
        self._pages.fill(new)
        sequence.names += new
        sequence.taken -= len(new)
        sequence.computed = len(sequence.tokens)
        sequence.begin, sequence.steps = now, 0
        if not sequence.limit:
            sequence.finish = "length"
            self._retire(sequence)
        elif self._period:
            self._due(sequence, now)
        sequence.news.set()

    # --- decoding ------------------------------------------------------------------------------------------------

    def _move(self, sequence: EchoSequence, now: float) -> None:
        """Makes all that is due by now, and notes when it goes on."""
        due = max(int((now - sequence.begin) / self._period) + 1 - sequence.steps, 1)
        sequence.steps += due
        self._advance(sequence, due * self._tokens_per_delta)
        sequence.news.set()
        if sequence in self._running:
            self._due(sequence, sequence.begin + sequence.steps * self._period)

    def _due(self, sequence: EchoSequence, at: float) -> None:
        heappush(self._schedule, (at, next(self._order), sequence))
        self._arm()

    def _arm(self) -> None:
        if self._schedule and self._schedule[0][0] < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            assert self._loop is not None
            self._timer_at = self._schedule[0][0]
            self._timer = self._loop.call_at(self._timer_at, self._tick)

    def _tick(self) -> None:
        assert self._loop is not None
        # The loop may fire a timer a little early: whatever is due at the timer's own time is due.
        now = max(self._loop.time(), self._timer_at)
        self._timer, self._timer_at = None, math.inf
        while self._schedule and self._schedule[0][0] <= now:
            _, _, sequence = heappop(self._schedule)
            self._move(sequence, now)
        self._arm()

    def _advance(self, sequence: EchoSequence, tokens: int) -> None:
        """Makes so many tokens, or fewer where the answer ends or the sequence has to make room for others."""
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
                    sequence.taken -= 1
            sequence.say()
            if sequence.finish:
                self._end(sequence)
                return

    def _grow(self, sequence: EchoSequence) -> bool:
        """One block more. While there is none, the newest sequence starts again: False if that is this one."""
        while not self._pages.hold((), 1):
            newest = next(reversed(self._running))
            self._retire(newest)
            self._waiting.appendleft(newest)
            if newest is sequence:
                self._admit(self._time())
                self._tell()
                return False
        sequence.taken += 1
        self._tell()
        return True
