"""The fields of a request body that no type in `bodies.py` has: each is refused or ignored.

A field that would change the answer is refused, unless it has its default value. A field that cannot change it is
ignored, and so is a field that no server of this API is known to have. A name that is nearly a parameter is refused,
because it is a mistake. The defaults are those of vLLM and of the servers that the names come from.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Struct

from dynamo_nb.errors import nearest_name
from dynamo_nb.llm.api.errors import ApiError, shortened

LIKENESS: Final = (
    0.81  # of a misspelt parameter: `max_new_tokens` and `max_tokens` have 0.83, `prompt_id` and `prompt` 0.80
)
MAX_FIELDS: Final = 256  # of one object; the requests of vLLM have 80, and each unknown one is compared with all
MAX_NAME: Final = 64  # characters of a name that is compared
KNOWN_NAMES: Final = 1024  # names whose comparison is kept: clients send the same ones again and again
MAX_REPORTED: Final = 256  # names that a log reports; clients can send any number

logger = logging.getLogger(__name__)

HARMLESS: Final = frozenset(
    {
        # OpenAI's
        *("user", "metadata", "store", "service_tier", "safety_identifier", "prediction"),
        *("prompt_cache_key", "prompt_cache_retention"),
        # vLLM's, which change an answer only together with a field that is refused or with an option of its server
        *("request_id", "session_id", "priority", "length_penalty", "spaces_between_special_tokens", "truncation_side"),
        *("stream_interval", "include_reasoning", "routed_experts_prompt_start"),
        *("return_token_offsets", "mm_payload", "return_mm_kwargs"),
        # of other endpoints
        *("cache_salt", "nvext"),
        # NVIDIA's, in `nvext`
        *("annotations", "agent_hints", "extra_fields"),
        *("backend_instance_id", "prefill_worker_id", "decode_worker_id"),
    }
)
"""Fields that cannot change an answer."""

STRUCTURED: Final = "use 'structured_outputs'"
DEFAULTS: Final[Mapping[str, tuple[Any, str]]] = {
    # OpenAI's
    "modalities": (["text"], ""),
    "audio": (None, ""),
    "functions": (None, "use 'tools'"),
    "function_call": (None, "use 'tool_choice'"),
    "web_search_options": (None, ""),
    "verbosity": ("medium", ""),
    "suffix": ("", ""),
    "dimensions": (None, ""),
    # vLLM's
    "use_beam_search": (False, ""),
    "watermarking": (False, ""),
    "include_stop_str_in_output": (False, ""),
    "skip_special_tokens": (True, ""),
    "truncate_prompt_tokens": (None, ""),
    "logprob_token_ids": ([], ""),
    "allowed_token_ids": (None, ""),
    "bad_words": ([], ""),
    "prompt_embeds": (None, ""),
    "echo": (False, ""),
    "add_special_tokens": (True, ""),
    "chat_template": (None, "set Processor.chat_template"),
    "media_io_kwargs": ({}, ""),
    "mm_processor_kwargs": ({}, ""),
    "disable_any_whitespace": (False, ""),
    "disable_additional_properties": (False, ""),
    "whitespace_pattern": (None, ""),
    "return_tokens_as_token_ids": (False, ""),
    "return_token_ids": (False, ""),
    "return_prompt_text": (False, ""),
    "kv_transfer_params": (None, ""),
    "ec_transfer_params": (None, ""),
    "vllm_xargs": ({}, ""),
    "repetition_detection": (None, ""),
    "thinking_token_budget": (-1, ""),
    "embed_dtype": ("float32", ""),
    "endianness": ("native", ""),
    "padding": (None, ""),
    "normalize": (True, ""),
    "use_activation": (True, ""),
    # NVIDIA's, in `nvext`
    "use_raw_prompt": (False, ""),
    "token_data": ([], ""),
    "max_thinking_tokens": (None, ""),
    # Earlier versions of vLLM
    "guided_json": (None, STRUCTURED),
    "guided_regex": (None, STRUCTURED),
    "guided_choice": (None, STRUCTURED),
    "guided_grammar": (None, STRUCTURED),
    "guided_whitespace_pattern": (None, STRUCTURED),
    # Other servers: SGLang, llama.cpp, text-generation-webui, TGI, Ollama, DeepSeek, Mistral, Qwen, OpenRouter
    "json_schema": (None, "use 'response_format'"),
    "format": ("", "use 'response_format'"),
    "regex": (None, STRUCTURED),
    "ebnf": (None, STRUCTURED),
    "grammar": ("", STRUCTURED),
    "grammar_string": ("", STRUCTURED),
    "stop_sequences": ([], "use 'stop'"),
    "stop_strings": ([], "use 'stop'"),
    "stopping_strings": ([], "use 'stop'"),
    "stop_regex": (None, "use 'stop'"),
    "max_output_tokens": (None, "use 'max_completion_tokens' or 'max_tokens'"),
    "max_length": (None, "use 'max_tokens'"),
    "n_predict": (-1, "use 'max_tokens'"),
    "num_predict": (-1, "use 'max_tokens'"),
    "do_sample": (True, "use 'temperature'"),
    "num_beams": (1, ""),
    "no_repeat_ngram_size": (0, ""),
    "penalty_alpha": (0, ""),
    "repeat_penalty": (1, "use 'repetition_penalty'"),
    "random_seed": (None, "use 'seed'"),
    "typical": (1, ""),
    "typical_p": (1, ""),
    "epsilon_cutoff": (0, ""),
    "eta_cutoff": (0, ""),
    "skew": (0, ""),
    "tfs": (1, ""),
    "tfs_z": (1, ""),
    "top_a": (0, ""),
    "top_n_sigma": (-1, ""),
    "mirostat": (0, ""),
    "mirostat_mode": (0, ""),
    "dynatemp_range": (0, ""),
    "xtc_probability": (0, ""),
    "dry_multiplier": (0, ""),
    "smoothing_factor": (0, ""),
    "samplers": ([], ""),
    "sampler_priority": ([], ""),
    "guidance_scale": (1, ""),
    "negative_prompt": ("", ""),
    "add_bos_token": (True, ""),
    "ban_eos_token": (False, "use 'ignore_eos'"),
    "custom_token_bans": ("", "use 'logit_bias'"),
    "lora_path": (None, "name the adapter in 'model'"),
    "system": (None, "use a message with the role 'system'"),
    "instructions": (None, "use a message with the role 'system'"),
    "options": ({}, ""),
    "safe_prompt": (False, ""),
    "data_sources": ([], ""),
    "transforms": ([], ""),
    "plugins": ([], ""),
    "reasoning": (None, ""),
    "think": (None, "use 'chat_template_kwargs'"),
    "thinking": (None, ""),
    "enable_thinking": (None, "use 'chat_template_kwargs'"),
    "thinking_budget": (None, ""),
    "extra_body": ({}, "send its fields in the body itself"),
}
"""Fields that change an answer and are not supported -> their default value, and what to use in their place."""


class IgnoredFields:
    """Reports in the log the fields that a server ignores, each name once."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def add(self, name: str) -> None:
        """Reports a field unless it was reported before."""
        name = shortened(name)
        if name not in self._names and len(self._names) < MAX_REPORTED:
            self._names.add(name)
            logger.warning("requests have the field %r, which is ignored: it is not a parameter of this server", name)


def check_unknown_fields(
    kind: type[Struct], fields: Mapping[str, msgspec.Raw], known: frozenset[str], path: str, ignored: IgnoredFields
) -> None:
    """Checks the fields of an object that its type does not have.

    Args:
        kind: The type of the object.
        fields: Its fields.
        known: The parameters of all request types, which are mistakes in others.
        path: Where it is in the body; "" for the body itself.
        ignored: Receives the fields that are ignored.

    Raises:
        ApiError: A field would change the answer, or is nearly a parameter.
    """
    if len(fields) > MAX_FIELDS:
        text = f"'{path or 'the body'}' has {len(fields)} fields; the limit is {MAX_FIELDS}."
        raise ApiError(text, param=path or None, code="invalid_value")
    own = kind.__struct_encode_fields__
    defaults = {name: value for name, (value, _) in DEFAULTS.items()} | dict(getattr(kind, "defaults", {}))
    for name, raw in fields.items():
        if name in own or bytes(raw) == b"null":  # clients send null for a parameter that is absent
            continue
        where = f"{path}.{name}" if path else name
        if name in HARMLESS:
            ignored.add(where)
            continue
        near = name if name in DEFAULTS or name in known else _nearest(name[: MAX_NAME + 1], own)
        if not near:
            ignored.add(where)
            continue
        value = msgspec.json.decode(raw)
        if near in DEFAULTS and value == defaults[near]:
            continue
        if near != name:
            raise _unrecognized(where, f"did you mean '{near}'?")
        if name in DEFAULTS:
            raise _unsupported(where, DEFAULTS[name][1])
        if value:  # neither false nor empty
            raise _unrecognized(where, "it is a parameter of another endpoint")


def _unsupported(where: str, instead: str) -> ApiError:
    text = f"'{where}' is not supported{f'; {instead}' if instead else ''}."
    return ApiError(text, param=where, code="unsupported_parameter")


def _unrecognized(where: str, hint: str) -> ApiError:
    text = f"Unrecognized request argument supplied: {where}; {hint}"
    return ApiError(text, param=where, code="unknown_parameter")


@lru_cache(KNOWN_NAMES)
def _nearest(name: str, known: tuple[str, ...]) -> str:
    """The parameter of which a name is a misspelling, or the last words; "" for none."""
    if len(name) > MAX_NAME:
        return ""
    last = next((one for one in known if one.endswith(f"_{name}")), "")
    return last or nearest_name(name, [*known, *DEFAULTS], LIKENESS)
