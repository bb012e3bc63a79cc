"""The values of sampling parameters that a request leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import asdict

from dynamo_nb.llm.messages import Sampling


class CompleteSampling(Sampling, frozen=True, kw_only=True):
    """Sampling without absent parameters, except for `max_tokens`, where 0 stands for the end of the context."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0


MODEL_PARAMETERS = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "max_tokens",
)
"""The parameters that a model can have values of its own for."""


def model_defaults(generation_config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a model's own sampling parameters, by their names in Sampling.

    Args:
        generation_config: The content of its `generation_config.json`.
    """
    named = {**generation_config, "max_tokens": generation_config.get("max_new_tokens")}
    return {name: named[name] for name in MODEL_PARAMETERS if named.get(name) is not None}


def completed(sampling: Sampling, defaults: Mapping[str, Any] | None = None) -> CompleteSampling:
    """Returns sampling parameters in which what the request leaves out comes from the model, then from the engine.

    Args:
        sampling: The parameters of the request, which win.
        defaults: The model's own parameters, see `model_defaults`.
    """
    given = {name: value for name, value in asdict(sampling).items() if value is not None}
    if not sampling.max_tokens:
        del given["max_tokens"]
    return CompleteSampling(**{**(defaults or {}), **given})
