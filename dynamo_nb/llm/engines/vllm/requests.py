"""Our requests and deltas in vLLM's terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dynamo_nb.errors import EngineError, InvalidArgument
from dynamo_nb.llm.messages import Logprobs, TokenDelta, TokenRequest

if TYPE_CHECKING:
    from vllm import SamplingParams
    from vllm.outputs import RequestOutput

LEAST: Final = -9999.0  # what is told of a token that cannot be: JSON has no number for its log probability
TRANSFER: Final = "kv_transfer_params"
FOR_ANOTHER: Final = {
    "do_remote_decode": True,
    "do_remote_prefill": False,
    "remote_engine_id": None,
    "remote_block_ids": None,
    "remote_host": None,
    "remote_port": None,
}
"""What asks a connector to keep the cache of a prompt for another engine."""


def sampling_params(request: TokenRequest, room: int) -> SamplingParams:
    """What of it remains after `generated` tokens. room: tokens that the context has left. Raises InvalidArgument."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    asked = request.sampling
    most = min(asked.max_tokens - request.generated, room) if asked.max_tokens else room
    try:
        return SamplingParams(
            max_tokens=most,
            min_tokens=min(max(asked.min_tokens - request.generated, 0), most),
            temperature=asked.temperature,
            top_p=asked.top_p,
            top_k=asked.top_k,
            min_p=asked.min_p,
            presence_penalty=asked.presence_penalty,
            frequency_penalty=asked.frequency_penalty,
            repetition_penalty=asked.repetition_penalty,
            seed=2**63 - 1 if asked.seed == -1 else asked.seed,  # -1 is none to vLLM
            stop_token_ids=list(asked.stop_tokens),
            ignore_eos=asked.ignore_eos,
            logprobs=asked.logprobs,
            structured_outputs=StructuredOutputsParams(json=asked.json_schema) if asked.json_schema else None,
            extra_args={TRANSFER: request.transfer} if request.transfer else None,
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
        )
    except Exception as error:
        raise refused(error) from error


def prefill_params() -> SamplingParams:
    """Those of a request that only computes the cache of its prompt."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        max_tokens=1,
        temperature=0.0,
        ignore_eos=True,
        extra_args={TRANSFER: dict(FOR_ANOTHER)},
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def token_delta(output: RequestOutput, likeliest: int | None, *, first: bool) -> TokenDelta:
    """likeliest: how many log probabilities were asked for. Raises EngineError for a request that failed."""
    (answer,) = output.outputs
    tokens = list(answer.token_ids)
    finish = answer.finish_reason or ""
    if finish == "error":
        raise EngineError("vLLM could not go on with a request", where=f"request {output.request_id}")
    if finish == "stop":
        # No texts are looked for here, so that it was a token; it comes last.
        del tokens[-1:]
    logprobs = []
    if likeliest is not None and answer.logprobs is not None:
        logprobs = [_logprobs(token, entry, likeliest) for token, entry in zip(tokens, answer.logprobs, strict=False)]
    cached = output.num_cached_tokens if first and output.num_cached_tokens is not None else -1
    return TokenDelta(tokens, finish, logprobs, cached)


def _logprobs(token: int, entry: Any, likeliest: int) -> Logprobs:
    ranked = sorted((value.rank, other, max(value.logprob, LEAST)) for other, value in entry.items())
    return [
        (token, max(entry[token].logprob, LEAST)),
        *((other, value) for rank, other, value in ranked if rank <= likeliest),
    ]


def refused(error: BaseException) -> InvalidArgument | EngineError:
    """What an error of vLLM is to the caller."""
    from vllm.exceptions import VLLMClientError

    cause = error if isinstance(error, VLLMClientError | ValueError | TypeError) else error.__cause__
    if isinstance(cause, VLLMClientError | ValueError | TypeError):
        where = getattr(cause, "parameter", None) or ""
        return InvalidArgument(f"vLLM refuses the request: {cause}", where=where)
    return EngineError(f"vLLM could not answer: {error or type(error).__name__}", where="VllmEngine")
