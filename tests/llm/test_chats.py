"""Messages of clients in the prompts of chat templates."""

import json
import logging

import pytest
from chat_templates import TEMPLATES, tokenizer_with

from dynamo_nb.errors import InvalidArgument


@pytest.fixture(scope="module")
def prompt_of(tmp_path_factory):
    """Returns the prompt that a template makes of messages."""
    tokenizers = {}

    def prompt(name, messages, tools=(), **variables):
        template = TEMPLATES[name] if isinstance(name, str) else name
        if (key := json.dumps(name)) not in tokenizers:
            tokenizers[key] = tokenizer_with(tmp_path_factory.mktemp("model"), template)
        tokenizer = tokenizers[key]
        tokens = tokenizer.chat(json.loads(json.dumps(messages)), list(tools), variables=variables)
        return tokenizer._tokenizer.decode(tokens, skip_special_tokens=False)

    return prompt


def system(content="s", **more):
    return {"role": "system", "content": content, **more}


def developer(content="d", **more):
    return {"role": "developer", "content": content, **more}


def user(content="u", **more):
    return {"role": "user", "content": content, **more}


def assistant(content="a", **more):
    return {"role": "assistant", "content": content, **more}


def text(value, kind="text", **more):
    return {"type": kind, "text": value, **more}


def call(arguments, **more):
    return {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}, **more}


CALL = '<|im_start|>assistant\n<tool_call>\n{"name": "f", "arguments": %s}\n</tool_call><|im_end|>\n'
NULLS = {
    "tool_calls": None,
    "refusal": None,
    "audio": None,
    "function_call": None,
    "reasoning_content": None,
    "name": None,
}
LATER = "<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n<|im_start|>user\nv<|im_end|>\n"
PROMPTS = {
    # roles
    "a developer": ("thinking", [developer(), user()], "<|im_start|>system\nd<|im_end|>\n<|im_start|>user\nu<|im_end|>\n"),
    "a developer in the middle": ("thinking", [user(), developer()], "<|im_start|>system\nd<|im_end|>\n<|im_start|>user\nu<|im_end|>\n"),
    "a developer after the system": (
        "thinking",
        [system(), developer(), user()],
        "<|im_start|>system\ns\n\nd<|im_end|>\n<|im_start|>user\nu<|im_end|>\n",
    ),
    "a developer with parts and a name": (
        "whole",
        [developer([text("d"), text("e")], name="n", tools=[{}])],
        "content,name,role=d\ne;",
    ),
    "a developer with tools for a template that knows developers": (
        "developer",
        [developer(), user()],
        "<|start|>system Reasoning: medium<|end|><|start|>developer d<|end|><|start|>user<|message|>u<|end|>",
    ),
    "a developer where the system has parts": ("parts", [developer(), user()], "System:d<end>\nUser:u<end>\n"),
    "developers where the system has parts": ("parts", [developer(), developer("e")], "System:d\n\ne<end>\n"),
    "several system messages": ("chatml", [system(), user(), system("t")], "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nu<|im_end|>\n<|im_start|>system\nt<|im_end|>\n"),
    "any role, of a template that writes all": ("chatml", [user(role="king")], "<|im_start|>king\nu<|im_end|>\n"),
    "any role, as parts": ("parts", [user([text("one"), text("two")], role="king")], "King:onetwo<end>\n"),
    "a role of the template": ("header", [user(), user("one\ntwo", role="ipython")], '<|begin|><system><eot><user>u<eot><ipython>"one\\ntwo"<eot>'),
    "a role that is passed over, without a text": ("hermes", [user(), user("", role="function")], "<|im_start|>user\nu<|im_end|>\n"),
    # content
    "parts for a text": ("chatml", [user([text("one"), text("two")])], "<|im_start|>user\none\ntwo<|im_end|>\n"),
    "no parts for a text": ("chatml", [user([])], "<|im_start|>user\n<|im_end|>\n"),
    "an empty part for a text": ("chatml", [user([text(""), text("two")])], "<|im_start|>user\ntwo<|im_end|>\n"),
    "plain texts as parts": ("chatml", [user(["one", "two"])], "<|im_start|>user\none\ntwo<|im_end|>\n"),
    "parts of the Responses API": (
        "chatml",
        [user([text("u", "input_text")]), assistant([text("a", "output_text", annotations=[], logprobs=None)])],
        "<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n",
    ),
    "a refusal as a part": ("chatml", [assistant([{"type": "refusal", "refusal": "no"}])], "<|im_start|>assistant\nno<|im_end|>\n"),
    "a text that is null": ("chatml", [user([text(None), text("u")])], "<|im_start|>user\nu<|im_end|>\n"),
    "a text for parts": ("parts", [user("one")], "User:one<end>\n"),
    "parts for parts": ("parts", [user([text("one"), text("two")])], "User:onetwo<end>\n"),
    "parts with cache control": ("parts", [user([text("one", cache_control={"type": "ephemeral"})])], "User:one<end>\n"),
    "parts through a macro": ("macro", [user([text("one"), text("two")])], "<|im_start|>user\nonetwo<|im_end|>\n"),
    "parts through a variable": ("variable", [user("one")], "<user>one\n"),
    "a text where both are expected": ("either", [user("one")], "<|begin|><start_of_turn>user\none<end_of_turn>\n"),
    "parts of the system where only users have parts": (
        "mixed",
        [system([text("one"), text("two")]), user([text("three"), text("four")])],
        "<system>one\ntwo<eot><user>threefour<eot>",
    ),
    "parts of the system of which the template takes the first": (
        "either",
        [system([text("one"), text("two")]), user()],
        "<|begin|><start_of_turn>user\none\ntwo\n\nu<end_of_turn>\n",
    ),
    "parts of the result of a tool": (
        "macro",
        [{"role": "tool", "tool_call_id": "c", "content": [text("one"), text("two")]}],
        "<|im_start|>tool\none\ntwo<|im_end|>\n",
    ),
    "the result of a tool where only parts are written": (
        "parts",
        [{"role": "tool", "tool_call_id": "c", "content": "one"}],
        "Tool:one<end>\n",
    ),
    "the result of a tool that is null": ("chatml", [{"role": "tool", "content": None}], "<|im_start|>tool\n<|im_end|>\n"),
    "an answer without content": ("chatml", [{"role": "assistant"}], "<|im_start|>assistant\n<|im_end|>\n"),
    "an answer that is null": ("chatml", [assistant(None)], "<|im_start|>assistant\n<|im_end|>\n"),
    "an answer that is null, for parts": ("parts", [assistant(None)], "Assistant:<end>\n"),
    # keys
    "keys that are null": ("hermes", [user(), assistant(**NULLS), user("v")], LATER),
    "tool calls that are an empty list": ("header", [user(), assistant(tool_calls=[])], "<|begin|><system><eot><user>u<eot><assistant>a<eot>"),
    "tool calls that are null": ("header", [user(), assistant(tool_calls=None)], "<|begin|><system><eot><user>u<eot><assistant>a<eot>"),
    "tool calls that are null, tested by `is defined`": ("turns", [user(), assistant(tool_calls=[])], "<|begin|>[INST]u[/INST] a<|end|>"),
    "an answer as it came from a client library": (
        "whole",
        [assistant(**NULLS, annotations=[], provider_specific_fields={}, parsed=None, id="x", cache_control={})],
        "content,role=a;",
    ),
    "a call as it came from a stream": (
        "whole",
        [assistant(None, tool_calls=[call("{}", index=0, extra={})])],
        "content,role,tool_calls=;function,id,type:arguments,name",
    ),
    "a call without an id and a type": (
        "whole",
        [assistant(None, tool_calls=[{"function": {"name": "f"}}])],
        "content,role,tool_calls=;function,type:arguments,name",
    ),
    "a call with an id that is null": (
        "whole",
        [assistant(None, tool_calls=[{"id": None, "function": {"name": "f"}}])],
        "content,role,tool_calls=;function,type:arguments,name",
    ),
    "reasoning that is not a text": ("whole", [assistant(reasoning=["r"], reasoning_content={})], "content,role=a;"),
    "tool calls of a user": ("whole", [user(tool_calls=[call("{}")])], "content,role=u;"),
    "a name, and one that is null": ("whole", [user(name="n"), user(name=None)], "content,name,role=u;content,role=u;"),
    "the id of a result that is null": ("whole", [{"role": "tool", "content": "r", "tool_call_id": None}], "content,role=r;"),
    "reasoning by its new name": ("thinking", [assistant(reasoning="r")], "<|im_start|>assistant\n<think>\nr\n</think>\na<|im_end|>\n"),
    "reasoning by its old name": (
        "developer",
        [assistant(reasoning_content="r")],
        "<|start|>system Reasoning: medium<|end|><|start|>assistant<|channel|>analysis r<|message|>a<|end|>",
    ),
    # arguments of earlier calls
    **{
        f"arguments {name}": ("hermes", [assistant(None, tool_calls=[call(given)])], CALL % expected)
        for name, given, expected in [
            ("as text", '{"a": [1, "x"]}', '{"a": [1, "x"]}'),
            ("as an object", {"a": 1}, '{"a": 1}'),
            ("that are null", None, "{}"),
            ("that are empty", "", "{}"),
            ("that end early", '{"a": ', "{}"),
            ("that are a list", "[1]", "{}"),
            ("that are a list, not as text", [1], "{}"),
            ("that are a number", "42", "{}"),
            ("that are null as text", "null", "{}"),
            ("that are true", "true", "{}"),
            ("that are no JSON", "a=1", "{}"),
            ("of brackets without end", '{"a": ' + "[" * 10**5, "{}"),
            ("with half a character", '{"a": "\\ud83d"}', '{"a": "?"}'),
        ]
    },
}  # fmt: skip
END = {
    "chatml": "<|im_start|>assistant\n",
    "hermes": "<|im_start|>assistant\n",
    "thinking": "<|im_start|>assistant\n",
    "macro": "<|im_start|>assistant\n",
    "header": "<assistant>",
    "mixed": "<assistant>",
    "either": "<start_of_turn>model\n",
    "parts": "Assistant:",
    "developer": "<|start|>assistant",
}


@pytest.mark.parametrize(("template", "messages", "prompt"), PROMPTS.values(), ids=PROMPTS)
def test_a_prompt_is_what_the_client_sent_in_the_form_of_the_template(prompt_of, template, messages, prompt):
    assert prompt_of(template, messages) == prompt + END.get(template, "")


INVALID = {
    "a message that is a text": (["x"], "messages[0]"),
    "no role": ([{"content": "x"}], "messages[0].role"),
    "an empty role": ([user(), user(role="")], "messages[1].role"),
    "a role that is a list": ([user(role=["user"])], "messages[0].role"),
    "no content": ([{"role": "user"}], "messages[0].content"),
    "a content of the system that is null": ([{"role": "system", "content": None}], "messages[0].content"),
    "a content that is a number": ([user(7)], "messages[0].content"),
    "a content that is an object": ([user(text("x"))], "messages[0].content"),
    "an image": ([user([text("x"), {"type": "image_url", "image_url": {"url": "x"}}])], "messages[0].content[1]"),
    "a part without a type": ([user([{"text": "x"}])], "messages[0].content[0]"),
    "a part that is null": ([user([None])], "messages[0].content[0]"),
    "a part whose type is a list": ([user([text("x", ["text"])])], "messages[0].content[0]"),
    "a text that is a number": ([user([text(7)])], "messages[0].content[0]"),
    "tool calls that are a number": ([assistant(tool_calls=5)], "messages[0].tool_calls"),
    "a call that is null": ([assistant(tool_calls=[call("{}"), None])], "messages[0].tool_calls[1]"),
    "a call without a function": ([assistant(tool_calls=[{"id": "c", "type": "function"}])], "messages[0].tool_calls[0]"),
    "a call whose name is null": ([assistant(tool_calls=[{"function": {"name": None}}])], "messages[0].tool_calls[0]"),
    "a name that is a number": ([user(name=7)], "messages[0].name"),
    "an id that is a number": ([assistant(tool_calls=[call("{}", id=7)])], "messages[0].tool_calls[0].id"),
    "the id of a result that is a number": ([{"role": "tool", "content": "r", "tool_call_id": 7}], "messages[0].tool_call_id"),
    "tools of a developer that are a text": ([developer(tools="f")], "messages[0].tools"),
    "a call of another type": ([assistant(tool_calls=[call("{}", type="custom")])], "messages[0].tool_calls[0]"),
    "a call of the old form": ([assistant(None, function_call={"name": "f", "arguments": "{}"})], "messages[0].function_call"),
}  # fmt: skip


@pytest.mark.parametrize(("messages", "where"), INVALID.values(), ids=INVALID)
def test_an_invalid_message_is_refused_by_name(prompt_of, messages, where):
    with pytest.raises(InvalidArgument) as error:
        prompt_of("chatml", messages)
    assert error.value.where == where


@pytest.mark.parametrize(
    "error", ["1 / 0", "missing.attribute", "raise_exception('no')", "[][1] + ''", "messages.append(1)"]
)
def test_whatever_a_template_raises_is_an_invalid_argument(prompt_of, error):
    with pytest.raises(InvalidArgument, match="the chat template rejected the messages"):
        prompt_of({"default": "{{ " + error + " }}"}, [user()])


def test_arguments_that_are_left_out_are_logged_by_the_name_of_the_function(prompt_of, caplog):
    with caplog.at_level(logging.WARNING):
        prompt_of("hermes", [assistant(None, tool_calls=[call("{}"), call("[1]")])])
    (record,) = [record for record in caplog.records if record.name.startswith("dynamo_nb")]
    assert "'f'" in record.getMessage()


def test_a_model_with_several_templates_has_one_for_tools_with_a_form_of_its_own(prompt_of):
    templates = {"default": TEMPLATES["chatml"], "tool_use": "{{ tools[0].function.name }} " + TEMPLATES["parts"]}
    tool = {"type": "function", "function": {"name": "look", "parameters": {}}}
    assert prompt_of(templates, [user([text("one"), text("two")])]).startswith("<|im_start|>user\none\ntwo")
    assert prompt_of(templates, [user("one")], [tool]).startswith("lookUser:one<end>")


def test_what_a_template_does_not_read_is_logged_once(prompt_of, caplog):
    template = {"default": "{{ messages }}{{ tone }}", "tool_use": "{{ messages }}"}
    tool = {"type": "function", "function": {"name": "look", "parameters": {}}}
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            prompt_of(template, [user()], tone="kind", tones=1, reasoning_effort="low", enable_thinking=True)
            prompt_of(template, [user()], [tool])
    reported = [record.getMessage() for record in caplog.records if record.name.startswith("dynamo_nb")]
    assert [text.split("'")[1] for text in reported] == ["tones", "reasoning_effort", "tools"]
