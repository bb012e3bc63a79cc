"""The fields of vLLM's requests, each with bodies in which it has another value than its default."""

import pytest

CHAT, COMPLETION = "chat/completions", "completions"
LEAST = {
    CHAT: {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4},
    COMPLETION: {"model": "tiny", "prompt": "hello", "max_tokens": 4},
}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
NAMED = {"type": "function", "function": {"name": "f"}}
ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NAMED]}}
# Field -> bodies with another value than the default.
OTHER = {
    "model": [{"model": "tiny"}, {"model": "huge"}],
    "messages": [{"messages": [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]}, {"messages": 1}],
    "prompt": [{"prompt": ["a", "b"]}, {"prompt": [5, 6]}, {"prompt": {}}],
    "frequency_penalty": [{"frequency_penalty": 0.5}, {"frequency_penalty": 3}],
    "presence_penalty": [{"presence_penalty": 0.5}, {"presence_penalty": 3}],
    "logit_bias": [{"logit_bias": {"5": 1.5}}, {"logit_bias": {"5": 500}}, {"logit_bias": {"x": 1}}],
    "logprobs": [{"logprobs": 1}, {"logprobs": True}, {"logprobs": "x"}],
    "top_logprobs": [{"logprobs": True, "top_logprobs": 2}, {"top_logprobs": 2}],
    "max_tokens": [{"max_tokens": 3}, {"max_tokens": 0}, {"max_tokens": 10**6}],
    "max_completion_tokens": [{"max_completion_tokens": 3}, {"max_completion_tokens": 0}],
    "n": [{"n": 2}, {"n": 0}],
    "response_format": [
        {"response_format": {"type": "text"}},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}},
        {"response_format": {"type": "json_schema"}},
        {"response_format": {"type": "x"}},
    ],
    "seed": [{"seed": 3}, {"seed": 2**64}],
    "stop": [{"stop": ["x"]}, {"stop": "x"}, {"stop": 1}],
    "stream": [{"stream": True}],
    "stream_options": [
        {"stream": True, "stream_options": {"include_usage": True}},
        {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}},
        {"stream_options": {"include_usage": True}},
        {"stream_options": {}},
    ],
    "suffix": [{"suffix": "x"}],
    "temperature": [{"temperature": 0.5}, {"temperature": -1}],
    "top_p": [{"top_p": 0.5}, {"top_p": 2}],
    "tools": [{"tools": [TOOL]}, {"tools": []}, {"tools": [{}]}],
    "tool_choice": [
        {"tools": [TOOL], "tool_choice": "auto"},
        {"tools": [TOOL], "tool_choice": "x"},
        {"tool_choice": "required"},
        {"tools": [TOOL], "tool_choice": "required"},
        {"tools": [TOOL], "tool_choice": NAMED},
        {"tools": [TOOL], "tool_choice": NAMED | {"function": {"name": "g"}}},
        {"tools": [TOOL], "tool_choice": NAMED | {"function": {}}},
        {"tools": [TOOL], "tool_choice": NAMED, "structured_outputs": {"regex": "a"}},
        {"tools": [TOOL], "tool_choice": ALLOWED},
    ],
    "reasoning_effort": [{"reasoning_effort": "low"}],
    "thinking_token_budget": [{"thinking_token_budget": 5}],
    "include_reasoning": [{"include_reasoning": False}],
    "parallel_tool_calls": [{"parallel_tool_calls": False}],
    "user": [{"user": "u"}],
    "use_beam_search": [{"use_beam_search": True}],
    "top_k": [{"top_k": 3}, {"top_k": -5}],
    "min_p": [{"min_p": 0.1}, {"min_p": 2}],
    "repetition_penalty": [{"repetition_penalty": 1.1}, {"repetition_penalty": 0}],
    "watermarking": [{"watermarking": True}],
    "length_penalty": [{"length_penalty": 0.5}],
    "stop_token_ids": [{"stop_token_ids": [5]}, {"stop_token_ids": 5}],
    "include_stop_str_in_output": [{"include_stop_str_in_output": True}],
    "ignore_eos": [{"ignore_eos": True}],
    "min_tokens": [{"min_tokens": 2}, {"min_tokens": 9}],
    "skip_special_tokens": [{"skip_special_tokens": False}],
    "spaces_between_special_tokens": [{"spaces_between_special_tokens": False}],
    "truncate_prompt_tokens": [{"truncate_prompt_tokens": 3}],
    "truncation_side": [{"truncation_side": "left"}],
    "prompt_logprobs": [
        {"prompt_logprobs": 1},
        {"prompt_logprobs": 0},
        {"prompt_logprobs": -1},
        {"prompt_logprobs": -2},
        {"prompt_logprobs": 21},
        {"prompt_logprobs": 1, "stream": True},
        {"prompt_logprobs": "x"},
    ],
    "logprob_token_ids": [{"logprobs": 1, "logprob_token_ids": [5]}, {"logprobs": True, "logprob_token_ids": [5]}],
    "allowed_token_ids": [{"allowed_token_ids": [5]}, {"allowed_token_ids": []}],
    "bad_words": [{"bad_words": ["x"]}],
    "prompt_embeds": [{"prompt_embeds": "AAAA"}],
    "echo": [
        {"echo": True},
        {"echo": True, "logprobs": 1},
        {"echo": True, "max_tokens": 0},
        {"echo": True, "max_tokens": 0, "logprobs": 1},
        {"echo": True, "stream": True, "logprobs": 1},
        {"echo": "x"},
    ],
    "add_generation_prompt": [{"add_generation_prompt": False}],
    "continue_final_message": [{"continue_final_message": True, "add_generation_prompt": False}],
    "add_special_tokens": [{"add_special_tokens": True}, {"add_special_tokens": False}],
    "documents": [{"documents": [{"title": "t", "text": "x"}]}],
    "chat_template": [{"chat_template": "x"}],
    "chat_template_kwargs": [{"chat_template_kwargs": {"enable_thinking": False}}],
    "media_io_kwargs": [{"media_io_kwargs": {"image": {"a": 1}}}],
    "mm_processor_kwargs": [{"mm_processor_kwargs": {"a": 1}}],
    "structured_outputs": [
        {"structured_outputs": {"choice": ["a", "b"]}},
        {"structured_outputs": {"choice": []}},
        {"structured_outputs": {"json": {"type": "object"}}},
        {"structured_outputs": {"json": '{"type": "object"}'}},
        {"structured_outputs": {"json": {"type": 7}}},
        {"structured_outputs": {"json_object": True}},
        {"structured_outputs": {"regex": "a+"}},
        {"structured_outputs": {"regex": "("}},
        {"structured_outputs": {"grammar": 'root ::= "a"'}},
        {"structured_outputs": {"grammar": "root ::= "}},
        {"structured_outputs": {"structural_tag": '{"type": "structural_tag", "format": {"type": "any_text"}}'}},
        {"structured_outputs": {"structural_tag": "{}"}},
        {"structured_outputs": {"structural_tag": ""}},
        {"structured_outputs": {"regex": "a", "choice": ["a"]}},
        {"structured_outputs": {"regex": "a"}, "response_format": {"type": "text"}},
        {"structured_outputs": {"regex": "a"}, "response_format": {"type": "json_object"}},
        {"structured_outputs": {}},
    ],
    "priority": [{"priority": 1}],
    "request_id": [{"request_id": "r"}],
    "session_id": [{"session_id": "s"}],
    "return_tokens_as_token_ids": [{"return_tokens_as_token_ids": True}],
    "return_token_ids": [{"return_token_ids": True}],
    "routed_experts_prompt_start": [{"routed_experts_prompt_start": 1}],
    "return_token_offsets": [{"return_token_offsets": True}],
    "return_prompt_text": [{"return_prompt_text": True}],
    "mm_payload": [{"mm_payload": "none"}],
    "return_mm_kwargs": [{"return_mm_kwargs": False}],
    "cache_salt": [{"cache_salt": "s"}, {"cache_salt": ""}, {"cache_salt": "a/b"}, {"cache_salt": "x" * 129}],
    "kv_transfer_params": [{"kv_transfer_params": {"a": 1}}],
    "ec_transfer_params": [{"ec_transfer_params": {"a": 1}}],
    "vllm_xargs": [{"vllm_xargs": {"a": 1}}],
    "repetition_detection": [{"repetition_detection": {"max_pattern_size": 2, "min_count": 2}}],
    "stream_interval": [{"stream_interval": 3}],
}
# Test -> why the status is another one, beside the fields of `fields.DEFAULTS`, which are not supported.
REASONS = {
    f"{CHAT} tool_choice 8": "OpenAI has this form, vLLM has it not",
    f"{CHAT} tools 1": "an empty list means no tools",
    f"{CHAT} logprobs 0": "a number is not a boolean",
    f"{COMPLETION} logprobs 1": "a boolean is not a number",
    **{f"{path} structured_outputs 9": "vLLM's server fails with a 500" for path in (CHAT, COMPLETION)},
    **{f"{path} logit_bias 1": "more than OpenAI's limit, which vLLM cuts" for path in (CHAT, COMPLETION)},
}


ONLY = {
    CHAT: [
        *("messages", "max_completion_tokens", "top_logprobs", "tools", "tool_choice", "parallel_tool_calls"),
        *("chat_template", "chat_template_kwargs", "add_generation_prompt", "continue_final_message", "documents"),
        *("reasoning_effort", "include_reasoning", "media_io_kwargs", "mm_processor_kwargs", "return_prompt_text"),
    ],
    COMPLETION: ["prompt", "prompt_embeds", "suffix"],
}
REQUIRED = ("model", "messages", "prompt")


def fields_of(path):
    return [name for name in OTHER if not any(name in ONLY[kind] for kind in ONLY if kind != path)]


def cases():
    for path in ONLY:
        for name in fields_of(path):
            for number, body in enumerate(OTHER[name]):
                yield pytest.param(path, name, body, id=f"{path} {name} {number}")
            if name not in REQUIRED:
                yield pytest.param(path, name, None, id=f"{path} {name} default")
