"""Prompts of generated chats, compared with those of vLLM's renderer."""

import json
import logging
from contextlib import suppress
from functools import cache
from itertools import chain

import pytest
from chat_templates import TEMPLATES, tokenizer_with
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynamo_nb.errors import InvalidArgument
from dynamo_nb.llm.api.bodies import ChatBody, read
from dynamo_nb.llm.tiny import tiny_model

pytest.importorskip("vllm")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, when vLLM imports it

CHATS = 80  # for each template
TEXTS = st.sampled_from(["one", "two three", "{}", "héllo", "a\nb", "<x>"])
ARGUMENTS = ['{"a": 1}', '{"a": {"b": ["c"]}}', "", None, "[]", "42", "true", '{"a":', "null", '"x"', {"a": 2}]
NULLS = ["refusal", "audio", "function_call", "annotations", "parsed", "reasoning_content", "tool_calls", "name"]
SEQUENCES = [["user"], ["user", "assistant"], ["user", "assistant", "tool"], ["user", "assistant", "tool", "tool"]]
FIRST = [[], [], ["system"], ["developer"], ["system", "developer"], ["developer", "developer"]]
LATER = [[], [], [], ["developer"], ["system"], ["function"]]


def part(kind):
    key = kind if kind == "refusal" else "text"
    return st.builds(lambda text: {"type": kind, key: text}, TEXTS)


PARTS = st.one_of(
    *map(part, ["text", "text", "input_text", "output_text", "refusal"]),
    TEXTS,
    st.sampled_from([{"type": "text", "text": None}, {"type": "refusal", "refusal": None}]),
)
CALLS = st.lists(
    st.builds(
        lambda arguments: {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}},
        st.sampled_from(ARGUMENTS),
    ),
    min_size=1,
    max_size=2,
)


@st.composite
def messages(draw, role):
    content = draw(st.one_of(TEXTS, st.lists(PARTS, max_size=3)))
    message = {"role": role, "content": content, "cache_control": {"type": "ephemeral"}, "extra": 1}
    message |= draw(st.sampled_from([{}, {}, {"name": "n"}, {"name": None}]))
    if role == "assistant":
        if draw(st.booleans()):
            message |= {"tool_calls": draw(CALLS), "content": draw(st.sampled_from([None, "", content]))}
        message |= dict.fromkeys(draw(st.lists(st.sampled_from(NULLS), max_size=3)))
        message |= draw(st.sampled_from([{}, {"reasoning": "r"}, {"reasoning_content": "r"}, {"refusal": "no"}]))
        if draw(st.integers(0, 5)) == 0:
            del message["content"]
    if role == "tool":
        message["tool_call_id"] = "c"
    return message


@st.composite
def chats(draw):
    turns = draw(st.lists(st.sampled_from(SEQUENCES), min_size=1, max_size=2))
    roles = [*draw(st.sampled_from(FIRST)), *chain(*turns), *draw(st.sampled_from(LATER))]
    return [draw(messages(role)) for role in roles]


@pytest.fixture(scope="module")
def config():
    from vllm.config import ModelConfig

    return ModelConfig(model=str(tiny_model()))


@pytest.fixture(scope="module")
def tokenizer_of(tmp_path_factory):
    return cache(lambda name: tokenizer_with(tmp_path_factory.mktemp("model"), TEMPLATES[name]))


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def vllm_prompt(chat, template, tokenizer, config):
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.renderers.chat_utils import parse_chat_messages
    from vllm.renderers.hf import resolve_chat_template_content_format, safe_apply_chat_template

    # Without the validation of whole requests, which refuses much of what the renderer takes, such as `"name": null`.
    given = ChatCompletionRequest._normalize_messages_before({"messages": chat})["messages"]
    form = resolve_chat_template_content_format(template, None, "auto", tokenizer, model_config=config)
    conversation, _, _ = parse_chat_messages(given, config, form)
    return safe_apply_chat_template(
        config, tokenizer, conversation, chat_template=template, tokenize=False, add_generation_prompt=True
    )


def texts_of(chat):
    for message in chat:
        content = message.get("content") or []
        for piece in [content] if isinstance(content, str) else content:
            yield (piece if isinstance(piece, str) else piece.get("text") or piece.get("refusal")) or ""


# vLLM gives one form to all roles but tools, and joins system messages to a text. These templates then lose their texts.
LOST = dict.fromkeys(TEMPLATES, ()) | {
    "parts": ("developer", "tool"),
    "variable": ("developer", "tool"),
    "either": ("system", "developer"),
    "mixed": ("system", "developer"),
}


PASSED_OVER = {"hermes": ("function",)}  # vLLM gives these messages to the template, which drops them


@pytest.mark.parametrize(("name", "lost"), LOST.items(), ids=LOST)
def test_a_prompt_equals_that_of_vllm_or_has_what_vllm_loses(name, lost, tokenizer_of, config):
    from vllm.exceptions import VLLMValidationError

    tokenizer, template = tokenizer_of(name), TEMPLATES[name]
    prompts = 0

    @settings(
        max_examples=CHATS, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(chats())
    def compare(chat):
        nonlocal prompts
        ours = theirs = refused = None
        try:
            ours = tokenizer._template(has_tools=False).prompt(json.loads(json.dumps(chat)), [])
        except InvalidArgument as error:
            refused = str(error)
        with suppress(VLLMValidationError):
            theirs = vllm_prompt(json.loads(json.dumps(chat)), template, tokenizer._tokenizer, config)
        prompts += ours is not None
        if refused and "does not write messages" in refused:
            role = refused.split("'")[1]
            assert role in PASSED_OVER.get(name, ())
        elif any(message["role"] in lost for message in chat):
            assert all(text in ours for text in texts_of(chat))
        else:
            assert ours == theirs

    compare()
    assert prompts > CHATS / 3


ANSWER = {"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "The answer "}]}
CONTINUED = {"continue_final_message": True, "add_generation_prompt": False}
BODIES = {
    # id: (body, variables of the configuration)
    "nothing": ({}, {}),
    "null": (dict.fromkeys(["chat_template_kwargs", "reasoning_effort", "documents"]), {"tone": "kind"}),
    "a variable": ({"chat_template_kwargs": {"enable_thinking": False, "tone": "kind"}}, {}),
    "a variable of the configuration": ({}, {"enable_thinking": False, "tone": "kind"}),
    "a variable of both": ({"chat_template_kwargs": {"tone": "rude"}}, {"enable_thinking": True, "tone": "kind"}),
    "a variable that is null": ({"chat_template_kwargs": {"tone": None}}, {"tone": "kind"}),
    "an unknown variable": ({"chat_template_kwargs": {"no_such": {"a": [1]}}}, {}),
    "an effort": ({"reasoning_effort": "high"}, {}),
    "no effort": ({"reasoning_effort": "none"}, {"enable_thinking": True}),
    "an effort and a variable": ({"reasoning_effort": "low", "chat_template_kwargs": {"enable_thinking": False}}, {}),
    "an effort over one of the configuration": ({"reasoning_effort": "low"}, {"reasoning_effort": "high"}),
    "an effort of the configuration": ({}, {"reasoning_effort": "high"}),
    "an effort twice": ({"reasoning_effort": "low", "chat_template_kwargs": {"reasoning_effort": "high"}}, {}),
    "documents": ({"documents": [{"title": "t", "text": "x"}]}, {}),
    "no beginning of an answer": ({"add_generation_prompt": False}, {}),
    "a message that is continued": (ANSWER | CONTINUED, {}),
    "parts that are continued": (
        {"messages": [{"role": "assistant", "content": [{"type": "text", "text": "a"}, "b "]}]} | CONTINUED,
        {},
    ),
    "an empty message that is continued": ({"messages": [{"role": "assistant", "content": ""}]} | CONTINUED, {}),
    "a message of a user that is continued": ({"messages": [{"role": "user", "content": "u"}]} | CONTINUED, {}),
}


@pytest.mark.parametrize(("given", "configured"), BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("name", ["hermes", "either", "parts", "developer", "documents", "header"])
def test_variables_of_a_template_come_from_where_vllm_takes_them(name, given, configured, tokenizer_of, config):
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.renderers.chat_utils import parse_chat_messages
    from vllm.renderers.hf import resolve_chat_template_content_format, safe_apply_chat_template

    tokenizer, template = tokenizer_of(name), TEMPLATES[name]
    body = {"model": "m", "messages": [{"role": "user", "content": "u"}]} | given
    ours = read(ChatBody, json.dumps(body).encode())
    prompt = tokenizer._template(has_tools=False).prompt(ours.messages, [], configured | ours.template_variables)

    theirs = ChatCompletionRequest.model_validate(body)
    form = resolve_chat_template_content_format(template, None, "auto", tokenizer._tokenizer, model_config=config)
    conversation, _, _ = parse_chat_messages(json.loads(json.dumps(body["messages"])), config, form)
    variables = theirs.build_chat_params(None, "auto").with_defaults(configured).chat_template_kwargs
    assert prompt == safe_apply_chat_template(
        config, tokenizer._tokenizer, conversation, chat_template=template, tokenize=False, **variables
    )
