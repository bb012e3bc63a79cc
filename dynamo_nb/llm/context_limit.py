"""The limit of a model's context: which prompts fit into it, and how many tokens an answer may have."""

from __future__ import annotations

from dynamo_nb.errors import InvalidArgument, suggestion
from dynamo_nb.llm.messages import ModelInfo, TokenRequest


def check_prompt(length: int, info: ModelInfo, *, model: str = "", param: str = "tokens", reserved: int = 1) -> None:
    """Checks that a prompt is not empty and leaves room for an answer in the context.

    Args:
        length: Tokens of the prompt.
        info: The model that reads the prompt.
        model: The name of the model in the error message; `info.model` by default.
        param: The request parameter that holds the prompt, for the error.
        reserved: Tokens that the prompt must leave for the answer; 0 for an embedding.

    Raises:
        InvalidArgument: The prompt is empty or too long.
    """
    if length < 1:
        raise InvalidArgument("the prompt is empty", where=param, remedy="send at least one token")
    if length > info.context - reserved:
        raise InvalidArgument(
            f"the prompt has {length} tokens; the context length of {model or info.model} is {info.context} tokens"
            + (" for prompt and answer together" if reserved else ""),
            where=param,
            remedy="shorten the prompt",
        )


def remaining_tokens(request: TokenRequest, info: ModelInfo, *, reserved: int = 1) -> int:
    """Returns how many more tokens may be generated for a request; 0 if its answer is complete.

    Args:
        request: The request, with the tokens generated so far.
        info: The model that answers it.
        reserved: See `check_prompt`.

    Raises:
        InvalidArgument: The prompt does not fit, or the request names an adapter that the model does not have.
    """
    check_prompt(len(request.tokens) - request.generated, info, reserved=reserved)
    if request.adapter and request.adapter not in info.adapters:
        raise InvalidArgument(
            f"unknown adapter {request.adapter!r}",
            where="adapter",
            remedy=suggestion(request.adapter, info.adapters),
        )
    remaining = info.context - len(request.tokens)
    if request.sampling.max_tokens:
        remaining = min(remaining, request.sampling.max_tokens - request.generated)
    return max(remaining, 0)
