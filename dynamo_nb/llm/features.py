"""The optional abilities of engines that requests need. An engine declares its own in `ModelInfo.features`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from dynamo_nb.errors import InvalidArgument
from dynamo_nb.llm.messages import ModelInfo, Sampling, TokenRequest

DESCRIPTIONS: Final = {
    "logprobs": "log probabilities",
    "prompt_logprobs": "log probabilities of prompts",
    "logit_bias": "biases of tokens",
    "json_schema": "JSON schemas",
    "regex": "answers that match a regular expression",
    "choice": "answers from a list",
    "grammar": "grammars",
    "structural_tag": "structural tags",
}
"""Feature -> what it is, for errors."""


def missing_feature(sampling: Sampling, features: Collection[str]) -> str:
    """Returns the first feature that sampling parameters need and an engine lacks; "" if there is none.

    Args:
        sampling: The parameters.
        features: The features of the engine.
    """
    needed = {
        "logprobs": sampling.logprobs is not None,
        "prompt_logprobs": sampling.prompt_logprobs is not None,
        "logit_bias": bool(sampling.logit_bias),
        sampling.structure.kind if sampling.structure else "": sampling.structure is not None,
    }
    return next((name for name, is_needed in needed.items() if is_needed and name not in features), "")


def check_features(request: TokenRequest, info: ModelInfo) -> None:
    """Raises InvalidArgument if an engine lacks a feature that a request needs."""
    if missing := missing_feature(request.sampling, info.features):
        raise InvalidArgument(
            f"this engine does not support {DESCRIPTIONS[missing]}",
            where=f"request {request.request_id}",
            remedy="leave the parameter out, or use another engine",
        )
