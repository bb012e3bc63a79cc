"""Multi-turn chat sessions made from a seed, their replay against a service, and the best possible cache hit rate.

Each session begins with one of a few system prompts, which sessions share. Each turn sends the whole conversation so
far and a new question; the next turn follows after a time to read and think. So almost every prompt was computed
before, by the worker that served the session's last turn. A router that knows the workers' caches can use that.

The conversations contain the answers of an EchoEngine instead of the service's own, so that every service receives the
same requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from random import Random

from dynamo_nb.llm.cache.blocks import block_hashes
from dynamo_nb.llm.engines.echo.sequence import echoed
from dynamo_nb.llm.messages import Sampling, TextDelta, TokenDelta, TokenRequest

Send = Callable[[TokenRequest], AsyncIterator[TokenDelta] | AsyncIterator[TextDelta]]
"""Sends a request to the service under test: `engine.generate`, or a function that calls a deployment."""


@dataclass(frozen=True)
class Turn:
    """One request of a session.

    Attributes:
        prompt: The token ids of the whole conversation up to here.
        answer: Tokens of the answer.
        think: Seconds between the end of the last answer, or the start of the session, and this request.
    """

    prompt: tuple[int, ...]
    answer: int
    think: float


@dataclass(frozen=True)
class ChatSession:
    """One conversation.

    Attributes:
        start: Seconds after the start of the replay.
        turns: Its requests, in order.
    """

    start: float
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class Workload:
    """Sessions, in the order of their starts."""

    sessions: tuple[ChatSession, ...]

    def __str__(self) -> str:
        turns = [turn for session in self.sessions for turn in session.turns]
        prompts = sum(len(turn.prompt) for turn in turns)
        last = max((session.start for session in self.sessions), default=0.0)
        return (
            f"{len(self.sessions)} sessions that start within {last:.1f} s, with {len(turns)} turns: "
            f"{prompts} tokens of prompts, {sum(turn.answer for turn in turns)} of answers"
        )


def conversations(
    seed: int = 0,
    *,
    sessions: int = 64,
    turns: int = 6,
    systems: int = 8,
    system_tokens: int = 512,
    question_tokens: int = 96,
    answer_tokens: int = 32,
    arrivals_per_second: float = 16.0,
    think: float = 0.5,
    vocabulary: tuple[int, int] = (256, 500),
) -> Workload:
    """Returns a workload of chat sessions. The same arguments make the same workload on any machine.

    Args:
        seed: The seed of all random numbers.
        sessions: Number of sessions.
        turns: Mean turns of a session; a session has half to one and a half times as many.
        systems: Number of system prompts; each session takes one, all equally likely.
        system_tokens: Tokens of a system prompt.
        question_tokens: Mean tokens of a question; a question has half to one and a half times as many.
        answer_tokens: Tokens of an answer.
        arrivals_per_second: Mean rate of new sessions; the times between them are exponential.
        think: Mean seconds between an answer and the next question; the times are exponential.
        vocabulary: The first and the last token id to use.
    """
    random = Random(seed)  # noqa: S311

    def text(length: int) -> list[int]:
        return [random.randint(*vocabulary) for _ in range(length)]

    def around(mean: int) -> int:
        return random.randint(max(mean // 2, 1), mean + mean // 2)

    openings = [text(system_tokens) for _ in range(systems)]
    result: list[ChatSession] = []
    start = 0.0
    for _ in range(sessions):
        conversation = list(random.choice(openings))
        requests: list[Turn] = []
        for _ in range(around(turns)):
            conversation += text(around(question_tokens))
            pause = random.expovariate(1 / think) if requests and think else 0.0
            requests.append(Turn(tuple(conversation), answer_tokens, pause))
            conversation += echoed(conversation, 0, answer_tokens)
        result.append(ChatSession(start, tuple(requests)))
        start += random.expovariate(arrivals_per_second)
    return Workload(tuple(result))


@dataclass(frozen=True)
class RequestResult:
    """The result of one request.

    Attributes:
        session: Number of the session.
        turn: Number of the turn in it.
        sent: Seconds from the start of the replay to the request.
        first: Seconds from the request to the first token.
        took: Seconds from the request to the end of the answer.
        prompt: Tokens of the prompt.
        cached: Number of them that were in a cache; 0 if the service does not report it.
        tokens: Tokens of the answer.
    """

    session: int
    turn: int
    sent: float
    first: float
    took: float
    prompt: int
    cached: int
    tokens: int


@dataclass(frozen=True)
class Replay:
    """The results of a workload.

    Attributes:
        results: The requests, in the order of their ends.
        seconds: The time of the whole replay.
    """

    results: tuple[RequestResult, ...]
    seconds: float

    @property
    def hit_rate(self) -> float:
        """The share of the tokens of all prompts that were in a cache, 0 to 1."""
        return sum(result.cached for result in self.results) / (sum(result.prompt for result in self.results) or 1)

    @property
    def tokens(self) -> int:
        """Tokens of all answers."""
        return sum(result.tokens for result in self.results)

    @property
    def tokens_per_second(self) -> float:
        """Tokens of all answers per second of the replay."""
        return self.tokens / self.seconds

    def first_token(self, quantile: float = 0.5) -> float:
        """Returns a quantile of the time to the first token, in seconds.

        Args:
            quantile: 0 to 1; 0.5 for the median.
        """
        times = sorted(result.first for result in self.results)
        return times[min(int(quantile * len(times)), len(times) - 1)]


async def replay(workload: Workload, send: Send) -> Replay:
    """Sends every request at its time.

    Args:
        workload: The sessions.
        send: Sends one request; see Send.

    Raises:
        ExceptionGroup: `send` raised; the replay ends.
    """
    time = asyncio.get_running_loop().time
    begin = time()
    results: list[RequestResult] = []

    async def run(number: int, session: ChatSession) -> None:
        await asyncio.sleep(session.start - (time() - begin))
        for index, turn in enumerate(session.turns):
            await asyncio.sleep(turn.think)
            sampling = Sampling(max_tokens=turn.answer, temperature=0.0, ignore_eos=True)
            request = TokenRequest(request_id=f"{number}.{index}", tokens=list(turn.prompt), sampling=sampling)
            sent, first, cached, tokens = time(), 0.0, 0, 0
            async for delta in send(request):
                new = delta.tokens if isinstance(delta, TextDelta) else len(delta.tokens)
                if new and not tokens:
                    first = time() - sent
                cached = max(cached, delta.cached)
                tokens += new
            took = time() - sent
            results.append(RequestResult(number, index, sent - begin, first, took, len(turn.prompt), cached, tokens))

    async with asyncio.TaskGroup() as group:
        for number, session in enumerate(workload.sessions):
            group.create_task(run(number, session))
    return Replay(tuple(results), time() - begin)


def oracle(workload: Workload, block_size: int, *, shared: bool = True) -> float:
    """Returns the best possible hit rate, with caches that never evict: the share of all prompts' tokens, 0 to 1.

    Args:
        workload: The sessions.
        block_size: Tokens in a block.
        shared: True for one cache that serves all sessions, so that nothing is computed twice: no router can do better.
            False for one worker for each session, which finds its own earlier turns but not those of other sessions.
    """
    hits = total = 0
    held: set[int] = set()
    for session in workload.sessions:  # the order does not matter: the first session computes what two of them share
        if not shared:
            held.clear()
        for turn in session.turns:
            names = block_hashes(turn.prompt, block_size)
            leading = next((number for number, name in enumerate(names) if name not in held), len(names))
            hits += min(leading * block_size, len(turn.prompt) - 1)
            total += len(turn.prompt)
            conversation = [*turn.prompt, *echoed(turn.prompt, 0, turn.answer)]
            held.update(block_hashes(conversation[:-1], block_size))  # the last token is never computed
    return hits / (total or 1)
