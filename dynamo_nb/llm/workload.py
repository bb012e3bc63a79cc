"""Conversations of many people with one model, made from a seed; their replay, and the best hit rate that there can be.

Each session begins with one of a few system prompts, which sessions share. Each turn sends the whole conversation so
far and a new question; the next one comes when the answer has been read and thought about. So almost all of a prompt
has been computed before, at the worker that served the session's last turn: what a router that knows the workers'
caches can use and another cannot.

The conversation goes on with the answers of an EchoEngine, whatever the service answers, so that every service is asked
exactly the same.
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
"""What a workload is replayed against: `engine.generate`, or a function that asks a deployment."""


@dataclass(frozen=True)
class Turn:
    """One request of a session.

    prompt: the whole conversation up to here. answer: how many tokens it asks for. think: seconds between the last
    answer's end (for the first turn, the session's start) and this request.
    """

    prompt: tuple[int, ...]
    answer: int
    think: float


@dataclass(frozen=True)
class Session:
    """One conversation, which starts so many seconds after the workload does."""

    start: float
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class Workload:
    """Sessions, in the order of their starts."""

    sessions: tuple[Session, ...]

    def __str__(self) -> str:
        turns = [turn for session in self.sessions for turn in session.turns]
        prompts = sum(len(turn.prompt) for turn in turns)
        last = max((session.start for session in self.sessions), default=0.0)
        return (
            f"{len(self.sessions)} sessions, started within {last:.1f} s, with {len(turns)} turns: "
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
    """A workload of that many sessions; the same arguments make the same workload, on any machine.

    Sessions arrive at random (exponential times between them) and take one of `systems` system prompts, each as likely
    as the other. A session has half to one and a half times `turns` turns, a question half to one and a half times
    `question_tokens` tokens, at random; each think time is exponential, with a mean of `think` seconds. Tokens are
    drawn from `vocabulary`, first and last.
    """
    random = Random(seed)  # noqa: S311

    def text(length: int) -> list[int]:
        return [random.randint(*vocabulary) for _ in range(length)]

    def about(mean: int) -> int:
        return random.randint(max(mean // 2, 1), mean + mean // 2)

    openings = [text(system_tokens) for _ in range(systems)]
    made: list[Session] = []
    start = 0.0
    for _ in range(sessions):
        said = list(random.choice(openings))
        asked: list[Turn] = []
        for _ in range(about(turns)):
            said += text(about(question_tokens))
            asked.append(Turn(tuple(said), answer_tokens, random.expovariate(1 / think) if asked and think else 0.0))
            said += echoed(said, 0, answer_tokens)
        made.append(Session(start, tuple(asked)))
        start += random.expovariate(arrivals_per_second)
    return Workload(tuple(made))


@dataclass(frozen=True)
class Reply:
    """What became of one request.

    sent: seconds after the replay's start. first, took: seconds from then to the first token and to the end. prompt,
    cached, tokens: tokens of the prompt, those of them that a cache had (0 where it is not told), those of the answer.
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
    """What became of a workload, in the order of the replies' ends."""

    replies: tuple[Reply, ...]
    seconds: float

    @property
    def hit_rate(self) -> float:
        """The share of all prompts' tokens that were in a cache, 0 to 1."""
        return sum(reply.cached for reply in self.replies) / (sum(reply.prompt for reply in self.replies) or 1)

    @property
    def tokens(self) -> int:
        return sum(reply.tokens for reply in self.replies)

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds

    def first_token(self, quantile: float = 0.5) -> float:
        """Seconds to the first token that this share of all requests needed at most: 0.5 for the median."""
        times = sorted(reply.first for reply in self.replies)
        return times[min(int(quantile * len(times)), len(times) - 1)]


async def replay(workload: Workload, send: Send) -> Replay:
    """Sends every request when its time has come. Whatever `send` raises ends the replay (in an ExceptionGroup)."""
    time = asyncio.get_running_loop().time
    begin = time()
    replies: list[Reply] = []

    async def hold(number: int, session: Session) -> None:
        await asyncio.sleep(session.start - (time() - begin))
        for place, turn in enumerate(session.turns):
            await asyncio.sleep(turn.think)
            sampling = Sampling(max_tokens=turn.answer, temperature=0.0, ignore_eos=True)
            request = TokenRequest(request_id=f"{number}.{place}", tokens=list(turn.prompt), sampling=sampling)
            sent, first, cached, tokens = time(), 0.0, 0, 0
            async for delta in send(request):
                new = delta.tokens if isinstance(delta, TextDelta) else len(delta.tokens)
                if new and not tokens:
                    first = time() - sent
                cached = max(cached, delta.cached)
                tokens += new
            took = time() - sent
            replies.append(Reply(number, place, sent - begin, first, took, len(turn.prompt), cached, tokens))

    async with asyncio.TaskGroup() as group:
        for number, session in enumerate(workload.sessions):
            group.create_task(hold(number, session))
    return Replay(tuple(replies), time() - begin)


def oracle(workload: Workload, block_size: int, *, shared: bool = True) -> float:
    """The best hit rate there can be, with caches that never forget: the share of all prompts' tokens, 0 to 1.

    shared: as if one cache served all sessions, so that nothing is ever computed twice: no router can do better.
    Without, as if each session had a worker of its own: it finds its own earlier turns, and never another session's.
    """
    hit = total = 0
    held: set[int] = set()
    for session in workload.sessions:  # in any order: what two sessions share, the first of them computes
        if not shared:
            held.clear()
        for turn in session.turns:
            names = block_hashes(turn.prompt, block_size)
            there = next((number for number, name in enumerate(names) if name not in held), len(names))
            hit += min(there * block_size, len(turn.prompt) - 1)
            total += len(turn.prompt)
            said = [*turn.prompt, *echoed(turn.prompt, 0, turn.answer)]
            held.update(block_hashes(said[:-1], block_size))  # of the last token nothing is computed
    return hit / (total or 1)
