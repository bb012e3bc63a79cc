"""What an engine's context leaves for an answer; the checks that every engine makes of a request."""

from __future__ import annotations

from dynamo_nb.errors import InvalidArgument, suggestion
from dynamo_nb.llm.messages import ModelInfo, TokenRequest


def room(request: TokenRequest, info: ModelInfo, least: int = 1) -> int:
    """How many tokens may still be made for a request: 0 where its answer is complete.

    least: that the prompt must leave in the context; 0 where nothing is made, as for an embedding.

    Raises InvalidArgument for an empty prompt, for one that leaves no room in the context, and for an adapter that is
    not there.
    """
    prompt = len(request.tokens) - request.generated
    if prompt < 1:
        raise InvalidArgument("the prompt has no tokens", where="tokens", remedy="give it some")
    if prompt > info.context - least:
        raise InvalidArgument(
            f"the prompt has {prompt} tokens, and the context of {info.model} {info.context} for prompt and answer "
            "together",
            where="tokens",
            remedy="shorten it",
        )
    if request.adapter and request.adapter not in info.adapters:
        raise InvalidArgument(
            f"there is no adapter {request.adapter!r}",
            where="adapter",
            remedy=suggestion(request.adapter, info.adapters),
        )
    left = info.context - len(request.tokens)
    if request.sampling.max_tokens:
        left = min(left, request.sampling.max_tokens - request.generated)
    return max(left, 0)
