import asyncio
import itertools
from statistics import mean

import pytest
from simulated_time import run_simulated

from dynamo_nb.llm.cache.blocks import block_hashes
from dynamo_nb.llm.engines.echo.engine import EchoEngine
from dynamo_nb.llm.engines.echo.options import EchoOptions
from dynamo_nb.llm.messages import TextDelta
from dynamo_nb.llm.workload import ChatSession, Turn, Workload, conversations, oracle, replay

BLOCK = 16


def replayed(workload, choose, workers=4):
    """A replay against several EchoEngines, in simulated time. choose: engines -> a function from request to engine."""

    async def run():
        engines = [
            EchoEngine(
                EchoOptions(
                    tokens_per_second=200, prefill_tokens_per_second=5000, block_size=BLOCK, blocks=1024, slots=32
                )
            )
            for _ in range(workers)
        ]
        for engine in engines:
            await engine.start()
        chosen = choose(engines)
        return await replay(workload, lambda request: chosen(request).generate(request))

    return run_simulated(run())


def round_robin(engines):
    turn = itertools.cycle(engines)
    return lambda request: next(turn)


def by_cache(engines):
    """A router with exact knowledge of the engines' caches."""

    def chosen(request):
        names = block_hashes(request.tokens, BLOCK)
        return min(
            engines,
            key=lambda one: len(names) - one._pages.leading(names) + 2 * (one.load().running + one.load().waiting),
        )

    return chosen


def test_a_seed_determines_the_workload():
    assert conversations(3) == conversations(3)
    assert conversations(3) != conversations(4)


def test_str_of_a_workload_summarises_it():
    workload = Workload((ChatSession(0.0, (Turn((1, 2), 3, 0.0),)), ChatSession(1.5, (Turn((1,), 4, 0.0),))))
    assert str(workload) == "2 sessions that start within 1.5 s, with 2 turns: 3 tokens of prompts, 7 of answers"


def test_each_turn_repeats_the_conversation_with_the_answers_of_an_echo_engine():
    workload = conversations(sessions=3, turns=4)

    async def answer(turn):
        engine = EchoEngine()
        await engine.start()
        request = replay_request(turn)
        return [token async for delta in engine.generate(request) for token in delta.tokens]

    for session in workload.sessions:
        for turn, following in itertools.pairwise(session.turns):
            whole = [*turn.prompt, *run_simulated(answer(turn))]
            assert list(following.prompt[: len(whole)]) == whole
            assert len(following.prompt) > len(whole)


def replay_request(turn):
    from dynamo_nb.llm.messages import Sampling, TokenRequest

    return TokenRequest(request_id="r", tokens=list(turn.prompt), sampling=Sampling(max_tokens=turn.answer))


def test_sessions_share_only_the_system_prompts():
    workload = conversations(sessions=40, systems=3, system_tokens=32)
    firsts = {session.turns[0].prompt[:32] for session in workload.sessions}
    assert len(firsts) == 3
    assert len({session.turns[0].prompt[:48] for session in workload.sessions}) == 40


def test_sizes_and_times_match_the_arguments_on_average():
    workload = conversations(sessions=300, turns=6, think=0.5, arrivals_per_second=20)
    assert mean(len(session.turns) for session in workload.sessions) == pytest.approx(6, rel=0.1)
    thinks = [turn.think for session in workload.sessions for turn in session.turns[1:]]
    assert mean(thinks) == pytest.approx(0.5, rel=0.15)
    assert workload.sessions[-1].start == pytest.approx(300 / 20, rel=0.2)
    assert all(256 <= token <= 500 for session in workload.sessions for token in session.turns[-1].prompt)


def test_a_replay_sends_every_request_on_time_and_records_its_result():
    workload = Workload((ChatSession(1.0, (Turn(tuple(range(20)), 3, 0.0), Turn((*range(20), 0, 1, 2, 9), 2, 0.5))),))

    async def run():
        engine = EchoEngine(EchoOptions(tokens_per_second=10, prefill_tokens_per_second=20, block_size=4, blocks=4096))
        await engine.start()
        return await replay(workload, engine.generate)

    result = run_simulated(run())
    first, second = result.results
    assert (first.session, first.turn, first.prompt, first.cached, first.tokens) == (0, 0, 20, 0, 3)
    assert (first.sent, first.first, first.took) == pytest.approx((1.0, 1.0, 1.2))
    assert (second.turn, second.prompt, second.cached, second.tokens) == (1, 24, 20, 2)
    assert (second.sent, second.first, second.took) == pytest.approx((2.7, 0.2, 0.3))
    assert result.seconds == pytest.approx(3.0)
    assert result.hit_rate == pytest.approx(20 / 44)
    assert result.tokens_per_second == pytest.approx(5 / 3)
    assert result.first_token() == pytest.approx(1.0)
    assert result.first_token(0.0) == pytest.approx(0.2)


def test_a_replay_accepts_text_deltas():
    async def send(request):
        await asyncio.sleep(1)
        yield TextDelta("", 0, cached=4)
        await asyncio.sleep(1)
        yield TextDelta("ab", 2, "length")

    result = run_simulated(replay(Workload((ChatSession(0.0, (Turn((1, 2, 3, 4, 5), 2, 0.0),)),)), send))
    (reply,) = result.results
    assert (reply.first, reply.took, reply.cached, reply.tokens) == (2.0, 2.0, 4, 2)


def test_an_error_of_the_service_ends_the_replay():
    async def send(request):
        raise ConnectionError(request.request_id)
        yield

    with pytest.raises(ExceptionGroup) as raised:
        run_simulated(replay(conversations(sessions=2), send))
    assert raised.group_contains(ConnectionError)


def test_the_oracle_counts_all_tokens_computed_before():
    shared = tuple(range(8))
    one = ChatSession(0.0, (Turn((*shared, 50, 51), 3, 0.0), Turn((*shared, 50, 51, 0, 1, 2, 60), 1, 0.0)))
    other = ChatSession(9.0, (Turn((*shared, 70), 1, 0.0),))
    workload = Workload((one, other))
    # The second turn finds all three blocks of the first turn and its answer; the other session finds the two shared ones.
    assert oracle(workload, 4) == pytest.approx((12 + 8) / (10 + 14 + 9))
    assert oracle(workload, 4, shared=False) == pytest.approx(12 / (10 + 14 + 9))


@pytest.mark.parametrize("seed", range(3))
def test_one_engine_with_a_large_cache_reaches_the_oracle(seed):
    workload = conversations(seed, sessions=12)

    async def run():
        engine = EchoEngine(EchoOptions(block_size=BLOCK, blocks=100_000))
        await engine.start()
        return await replay(workload, engine.generate)

    assert run_simulated(run()).hit_rate == pytest.approx(oracle(workload, BLOCK), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_routing_by_cache_content_halves_the_time_to_the_first_token(seed):
    workload = conversations(seed)
    blind, knowing = replayed(workload, round_robin), replayed(workload, by_cache)
    best = oracle(workload, BLOCK)
    assert knowing.first_token() * 2 <= blind.first_token()
    assert best * 0.95 <= knowing.hit_rate <= best
    assert blind.hit_rate < knowing.hit_rate
    assert knowing.seconds < 20
