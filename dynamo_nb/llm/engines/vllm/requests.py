"""Conversions between our requests, deltas and errors and vLLM's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dynamo_nb.errors import EngineError, InvalidArgument
from dynamo_nb.llm.messages import Logprobs, PromptLogprobs, Structure, TokenDelta, TokenRequest
from dynamo_nb.llm.sampling_defaults import completed

if TYPE_CHECKING:
    from vllm import SamplingParams
    from vllm.config import ModelConfig
    from vllm.outputs import RequestOutput
    from vllm.sampling_params import StructuredOutputsParams

LEAST_LOGPROB: Final = -9999.0  # stands for minus infinity, which JSON cannot express
TRANSFER: Final = "kv_transfer_params"
KEEP_FOR_TRANSFER: Final = {
    "do_remote_decode": True,
    "do_remote_prefill": False,
    "remote_engine_id": None,
    "remote_block_ids": None,
    "remote_host": None,
    "remote_port": None,
}
"""Parameters with which a connector keeps the KV cache of a prompt for another engine."""


def model_sampling(config: ModelConfig) -> tuple[dict[str, Any], int]:
    """Returns the model's own sampling parameters, and the most tokens of any answer; 0 for no such limit.

    They follow from the options `generation_config` and `override_generation_config`, as in `vllm serve`.

    Args:
        config: vLLM's configuration of the model.
    """
    sampling = config.get_diff_sampling_param()
    if config.generation_config in ("auto", "vllm"):
        return sampling, config.override_generation_config.get("max_new_tokens") or 0
    return sampling, sampling.get("max_tokens") or 0


def sampling_params(request: TokenRequest, remaining: int) -> SamplingParams:
    """Returns vLLM's parameters for the rest of an answer.

    Args:
        request: The request, of whose answer `generated` tokens exist.
        remaining: Most tokens that may still be generated.

    Raises:
        InvalidArgument: vLLM rejects a parameter.
    """
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    sampling = completed(request.sampling)
    try:
        return SamplingParams(
            max_tokens=remaining,
            min_tokens=min(max(sampling.min_tokens - request.generated, 0), remaining),
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            min_p=sampling.min_p,
            presence_penalty=sampling.presence_penalty,
            frequency_penalty=sampling.frequency_penalty,
            repetition_penalty=sampling.repetition_penalty,
            seed=2**63 - 1 if sampling.seed == -1 else sampling.seed,  # -1 means no seed to vLLM
            stop_token_ids=list(sampling.stop_tokens),
            ignore_eos=sampling.ignore_eos,
            logprobs=sampling.logprobs,
            prompt_logprobs=sampling.prompt_logprobs,
            logit_bias=sampling.logit_bias or None,
            structured_outputs=structured_outputs(sampling.structure),
            extra_args={TRANSFER: request.transfer} if request.transfer else None,
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
        )
    except Exception as error:
        raise request_error(error) from error


def structured_outputs(structure: Structure | None) -> StructuredOutputsParams | None:
    """Returns vLLM's parameters for the form of an answer."""
    from vllm.sampling_params import StructuredOutputsParams

    if structure is None:
        return None
    value = list(structure.value) if structure.kind == "choice" else structure.value
    return StructuredOutputsParams(**{{"json_schema": "json"}.get(structure.kind, structure.kind): value})


def prefill_params() -> SamplingParams:
    """Returns vLLM's parameters for a request that only computes the KV cache of its prompt."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        max_tokens=1,
        temperature=0.0,
        ignore_eos=True,
        extra_args={TRANSFER: dict(KEEP_FOR_TRANSFER)},
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def token_delta(output: RequestOutput, request: TokenRequest, *, first: bool) -> TokenDelta:
    """Returns one of vLLM's outputs as a delta.

    Args:
        output: The output, with the tokens since the one before.
        request: The request.
        first: True for the first output of the request.

    Raises:
        InvalidArgument: The engine cannot read the form that the answer must have.
        EngineError: The request failed.
    """
    top_logprobs = request.sampling.logprobs
    (completion,) = output.outputs
    tokens = list(completion.token_ids)
    finish = completion.finish_reason or ""
    if finish == "error" and first and request.sampling.structure and not request.transfer:
        # Some errors in grammars are found only when the engine compiles them.
        raise InvalidArgument(f"vLLM rejected the {request.sampling.structure.kind} of the answer")
    if finish == "error":
        raise EngineError("vLLM failed while it answered", where=f"request {output.request_id}")
    if finish == "stop":
        # vLLM is given no stop texts, so it stopped at a token, which is the last one.
        del tokens[-1:]
    logprobs = []
    if top_logprobs is not None and completion.logprobs is not None:
        pairs = zip(tokens, completion.logprobs, strict=False)
        logprobs = [_logprobs(token, entry, top_logprobs) for token, entry in pairs]
    cached = output.num_cached_tokens if first and output.num_cached_tokens is not None else -1
    return TokenDelta(tokens, finish, logprobs, cached, _prompt_logprobs(output, request) if first else [])


def _prompt_logprobs(output: RequestOutput, request: TokenRequest) -> list[PromptLogprobs]:
    most = request.sampling.prompt_logprobs
    if most is None or output.prompt_logprobs is None:
        return []
    found = []
    for token, entry in zip(request.tokens[1:], output.prompt_logprobs[1:], strict=True):
        ranked = sorted((one.rank, other, max(one.logprob, LEAST_LOGPROB)) for other, one in entry.items())
        top = [(other, value, rank) for rank, other, value in ranked if rank <= most]
        found.append([(token, max(entry[token].logprob, LEAST_LOGPROB), entry[token].rank), *top])
    return found


def _logprobs(token: int, entry: Any, top_logprobs: int) -> Logprobs:
    ranked = sorted((value.rank, other, max(value.logprob, LEAST_LOGPROB)) for other, value in entry.items())
    return [
        (token, max(entry[token].logprob, LEAST_LOGPROB)),
        *((other, value) for rank, other, value in ranked if rank <= top_logprobs),
    ]


def request_error(error: BaseException) -> InvalidArgument | EngineError:
    """Returns an error of vLLM as one of ours: the caller's fault, or the engine's."""
    from vllm.exceptions import VLLMClientError

    cause = error if isinstance(error, VLLMClientError | ValueError | TypeError) else error.__cause__
    if isinstance(cause, VLLMClientError | ValueError | TypeError):
        where = getattr(cause, "parameter", None) or ""
        return InvalidArgument(f"vLLM rejected the request: {cause}", where=where)
    return EngineError(f"vLLM failed: {error or type(error).__name__}", where="VllmEngine")
