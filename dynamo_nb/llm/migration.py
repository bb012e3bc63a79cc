"""Answers that outlive the worker that makes them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, suppress
from typing import Final

from msgspec.structs import replace

from dynamo_nb.errors import DynamoError, EngineError, NoInstances, WorkerLost
from dynamo_nb.llm.messages import Sampling, TokenDelta, TokenRequest
from dynamo_nb.llm.worker_calls import Placing
from dynamo_nb.sdk import trace_note

MAX_REFUSALS: Final = 3  # times that a request finds no worker, or one that has just gone: seconds each, or none at all


async def generated(placing: Placing, request: TokenRequest, limit: int) -> AsyncGenerator[TokenDelta, None]:
    """The answer of one worker, and after its loss of the next, which goes on where it stopped.

    Where that would be another answer the next one begins again, and what it repeats is left out. limit: how many
    workers the request may lose. Raises the error of the last one.
    """
    prompt, answer = request.tokens, list[int]()
    again = _counts_from_the_beginning(request.sampling)
    lost = refused = 0
    avoid: list[int] = []
    while True:
        try:
            async with AsyncExitStack() as held:
                call = await placing.call("generate", [request], request, avoid, held)
                deltas = await held.enter_async_context(aclosing(aiter(call)))
                known = list(answer) if again else []
                async for delta in deltas:
                    if known:
                        known = _leave_out(known, delta, request)
                        if not delta.tokens and not delta.finish:
                            continue
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
            if lost > limit:
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


async def embedded(placing: Placing, request: TokenRequest) -> list[float]:
    """The embedding that one worker makes, or after its loss another. Raises the error of the last one."""
    avoid: list[int] = []
    refused = 0
    while True:
        try:
            async with AsyncExitStack() as held:
                embedding: list[float] = await (await placing.call("embed", [request.tokens], request, avoid, held))
                return embedding
        except (NoInstances, WorkerLost, EngineError):
            refused += 1
            if refused > MAX_REFUSALS:
                raise


class _Otherwise(WorkerLost):
    """What a lost worker began cannot be gone on with: no other makes the same."""


def _counts_from_the_beginning(sampling: Sampling) -> bool:
    """Whether an engine that knows only the tokens so far would go on otherwise than the one that made them.

    A grammar starts at the first token that an engine makes, so does a seed, and penalties count what it has made.
    """
    certain = sampling.temperature == 0 or sampling.seed is not None
    penalties = sampling.presence_penalty or sampling.frequency_penalty
    return bool(sampling.json_schema or (certain and (sampling.temperature or penalties)))


def _leave_out(known: list[int], delta: TokenDelta, request: TokenRequest) -> list[int]:
    """Takes from a delta what is known already, and returns what is still to come of that."""
    count = min(len(known), len(delta.tokens))
    if delta.tokens[:count] != known[:count] or (delta.finish and count < len(known)):
        raise _Otherwise("the next worker makes another answer", where=f"request {request.request_id}")
    delta.tokens, delta.logprobs = delta.tokens[count:], delta.logprobs[count:]
    return known[count:]
