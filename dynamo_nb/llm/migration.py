"""Answers that continue on another worker when theirs is lost."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, suppress
from typing import Final

from msgspec.structs import replace

from dynamo_nb.errors import DynamoError, EngineError, NoInstances, WorkerLost
from dynamo_nb.llm.messages import Sampling, TokenDelta, TokenRequest
from dynamo_nb.llm.worker_calls import WorkerCalls
from dynamo_nb.sdk import trace_note

MAX_REFUSALS: Final = 3  # times that a request finds no worker, or one that has just gone: some seconds each, or none


async def generate_with_migration(
    workers: WorkerCalls, request: TokenRequest, limit: int
) -> AsyncGenerator[TokenDelta, None]:
    """Streams the answer of one worker and, after its loss, of the next one, which continues at the same token.

    If continuing would change the answer, the next worker starts from the beginning, and the tokens that the caller has
    already received are left out.

    Args:
        workers: Calls the workers.
        request: The request.
        limit: Number of workers that the request may lose.

    Raises:
        WorkerLost: The limit is exceeded, or the next worker began another answer.
        EngineError: The limit is exceeded; the last worker's engine failed.
        NoInstances: No worker is running.
    """
    prompt, answer = request.tokens, list[int]()
    restarts = _must_restart(request.sampling)
    lost = refused = 0
    is_begun = False  # the caller has the first delta, with what the request asks about the prompt
    avoid: list[int] = []
    while True:
        try:
            async with AsyncExitStack() as stack:
                call = await workers.call("generate", [request], request, avoid, stack)
                deltas = await stack.enter_async_context(aclosing(aiter(call)))
                known = list(answer) if restarts else []
                async for delta in deltas:
                    if known:
                        known = _remove_known(known, delta, request)
                        if not delta.tokens and not delta.finish:
                            continue
                    answer += delta.tokens
                    is_begun = True
                    if not delta.finish:
                        yield delta
                        continue
                    # Read the stream to its end before the last delta: a stream that is closed counts as cancelled.
                    with suppress(DynamoError):  # the answer is complete, even if its worker fails now
                        async for _ in deltas:
                            pass
                    yield delta
                    return
            raise WorkerLost("the stream of a worker ended without a finish", where=f"request {request.request_id}")
        except _DifferentAnswer:
            raise
        except NoInstances:  # a worker that refuses a request has not lost it
            refused += 1
            if refused > MAX_REFUSALS:
                raise
        except (WorkerLost, EngineError) as error:
            lost += 1
            if lost > limit:
                raise
            trace_note(lost=lost, because=error.code, after=len(answer))
        if 0 < request.sampling.max_tokens <= len(answer):
            yield TokenDelta([], "length")
            return
        if is_begun:
            request = replace(request, sampling=replace(request.sampling, prompt_logprobs=None))
        request_id = f"{request.request_id.partition('~')[0]}~{lost + refused}"
        if restarts:
            request = replace(request, request_id=request_id)
        else:
            request = replace(request, request_id=request_id, tokens=prompt + answer, generated=len(answer))


async def embed_with_retry(workers: WorkerCalls, request: TokenRequest) -> list[float]:
    """Returns the embedding from one worker or, after its loss, from another.

    Args:
        workers: Calls the workers.
        request: The request, with the text in `tokens`.

    Raises:
        WorkerLost: Several workers were lost.
        EngineError: Several engines failed.
        NoInstances: No worker is running.
    """
    avoid: list[int] = []
    refused = 0
    while True:
        try:
            async with AsyncExitStack() as stack:
                embedding: list[float] = await (await workers.call("embed", [request.tokens], request, avoid, stack))
                return embedding
        except (NoInstances, WorkerLost, EngineError):
            refused += 1
            if refused > MAX_REFUSALS:
                raise


class _DifferentAnswer(WorkerLost):
    """The answer of a lost worker cannot be continued: no other worker generates the same tokens."""


def _must_restart(sampling: Sampling) -> bool:
    """True if another engine, which knows only the tokens so far, would continue differently.

    A grammar and a seed start at the first token that an engine generates, and penalties count generated tokens.
    """
    is_deterministic = sampling.temperature == 0 or sampling.seed is not None
    penalties = sampling.presence_penalty or sampling.frequency_penalty
    return bool(sampling.structure or (is_deterministic and (sampling.temperature != 0 or penalties)))


def _remove_known(known: list[int], delta: TokenDelta, request: TokenRequest) -> list[int]:
    """Removes known tokens from a delta, and returns the known tokens that have not come yet."""
    count = min(len(known), len(delta.tokens))
    if delta.tokens[:count] != known[:count] or (delta.finish and count < len(known)):
        raise _DifferentAnswer("the next worker generates a different answer", where=f"request {request.request_id}")
    delta.tokens, delta.logprobs = delta.tokens[count:], delta.logprobs[count:]
    return known[count:]
