"""Tool calls in the text of an answer, for every division into pieces."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo_nb.llm.text.tools import BEGIN, END, ToolCalls


def call(text, end=END):
    return f"{BEGIN}{text}{end}"


def f(arguments):
    return '{"name": "f", "arguments": %s}' % arguments  # noqa: UP031 - braces


ONE, TWO = call(f('{"a": 1}')), call(f('{"a": 2}'))
LINES = call('\n{"name": "f",\n "arguments": {\n  "a": 1\n }\n}\n')
ANSWERS = {
    # id: (text, what is shown, arguments of the calls)
    "no call": ("plain < text <tool", "plain < text <tool", []),
    "blanks only": ("\n\n ", "\n\n ", []),
    "blanks before text": ("\n\nHello ", "\n\nHello ", []),
    "one call": (ONE, "", ['{"a": 1}']),
    "over several lines": (LINES, "", ['{\n  "a": 1\n }']),
    "a text before": ("I look. " + ONE, "I look. ", ['{"a": 1}']),
    "blanks before": ("\n\n" + ONE, "", ['{"a": 1}']),
    "a newline between calls": (ONE + "\n" + TWO, "", ['{"a": 1}', '{"a": 2}']),
    "nothing between calls": (ONE + TWO, "", ['{"a": 1}', '{"a": 2}']),
    "a text between calls": (ONE + " and\n" + TWO + "\n", " and\n", ['{"a": 1}', '{"a": 2}']),
    "a text after": (ONE + "\nDone. ", "\nDone. ", ['{"a": 1}']),
    # marks and JSON
    "the last mark in an argument": (call(f('{"a": "</tool_call>"}')), "", ['{"a": "</tool_call>"}']),
    "both marks in an argument": (call(f(json.dumps({"a": ONE + TWO}))), "", [json.dumps({"a": ONE + TWO})]),
    "braces and escapes in an argument": (call(f(r'{"a": "}\\\"{\\", "]": [{}]}')), "", [r'{"a": "}\\\"{\\", "]": [{}]}']),
    "no last mark": (call(f('{"a": 1}'), ""), "", ['{"a": 1}']),
    "no last mark before blanks": (call(f('{"a": 1}'), "\n\n"), "", ['{"a": 1}']),
    "no last mark between calls": (call(f('{"a": 1}'), "\n") + TWO, "", ['{"a": 1}', '{"a": 2}']),
    "no last mark before text": (call(f('{"a": 1}'), " Done"), " Done", ['{"a": 1}']),
    "a part of the last mark": (call(f('{"a": 1}'), "</tool_"), "", ['{"a": 1}']),
    "something else than the last mark": (call(f('{"a": 1}'), "</tool>"), "</tool>", ['{"a": 1}']),
    # arguments
    "no arguments": (call('{"name": "f"}'), "", ["{}"]),
    "arguments that are null": (call(f("null")), "", ["{}"]),
    "arguments that are empty": (call(f('""')), "", ["{}"]),
    "arguments before the name": (call('{"arguments": {"a": 1}, "name": "f"}'), "", ['{"a": 1}']),
    "parameters": (call('{"name": "f", "parameters": {"a": 1}}'), "", ['{"a": 1}']),
    "arguments as a string": (call(f(json.dumps('{"a": 1}'))), "", ['{"a": 1}']),
    "arguments that are a text": (call(f('"x"')), "", ['"x"']),
    "a list": (call(f("[1, 2]")), "", ["[1, 2]"]),
    "numbers as the model wrote them": (call(f('{"a": [1e400, 0.10, 12345678901234567890123]}')), "", ['{"a": [1e400, 0.10, 12345678901234567890123]}']),
    "half a character": (call(f(r'{"a": "\ud83d"}')), "", [r'{"a": "\ud83d"}']),
    "letters of all kinds": (call(f('{"ä": "世 🚢"}')), "", ['{"ä": "世 🚢"}']),
    "a line break in a string": (call(f('{"a": "x\ny"}')), "", ['{"a": "x\\ny"}']),
    # not calls
    "a name that is null": (text := call('{"name": null, "arguments": {}}'), text, []),
    "an empty name": (text := call('{"name": "", "arguments": {}}'), text, []),
    "a name that is a number": (text := call('{"name": 1}'), text, []),
    "a name with half a character": (text := call(r'{"name": "\ud83d"}'), text, []),
    "no name": (text := call('{"arguments": {}}'), text, []),
    "no JSON": (text := call("look up"), text, []),
    "a list of calls": (text := call("[" + f("{}") + "]"), text, []),
    "a literal of Python": (text := call("{'name': 'f', 'arguments': {}}"), text, []),
    "a comma too many": (text := call('{"name": "f",}'), text, []),
    "an object that is not closed": (text := call('{"name": "f", "arguments": {"a": 1}'), text, []),
    "an object that is not closed, before a call": (call('{"name": "f", "arguments": {"a": 1}') + TWO, call('{"name": "f", "arguments": {"a": 1}'), ['{"a": 2}']),
    "no JSON before a call": (call("look") + "\n" + ONE, call("look") + "\n", ['{"a": 1}']),
    "a mark before a call": (BEGIN + ONE, BEGIN, ['{"a": 1}']),
    "an unfinished call": (text := BEGIN + '\n{"name": "f", "argu', text, []),
    "an unfinished string": (text := BEGIN + f('{"a": "x')[:-1] + END, text, []),
    "nothing after the mark": (BEGIN + "\n", BEGIN + "\n", []),
    "a name that is nested too deeply": (text := call('{"name": ' + "[" * 5000 + "]" * 5000 + "}"), text, []),
}  # fmt: skip


def read(text, size, most=float("inf")):
    tools = ToolCalls(most)
    shown = "".join(tools.feed(text[start : start + size]) for start in range(0, len(text), size)) + tools.end()
    return shown, tools.take()


@pytest.mark.parametrize(("text", "shown", "arguments"), ANSWERS.values(), ids=ANSWERS)
def test_calls_are_cut_by_their_json(text, shown, arguments):
    for size in (1, 2, 3, 7, 11, len(text)):
        left, calls = read(text, size)
        assert left == shown
        assert [each.arguments for each in calls] == arguments
        assert all(each.name == "f" for each in calls)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=6)
    | st.sampled_from([BEGIN, END, '"', "\\", "{", "}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.dictionaries(st.text(max_size=4), JSON, max_size=3), min_size=1, max_size=3), st.integers(1, 9))
def test_any_arguments_are_restored(arguments, size):
    text = "\n".join(call(json.dumps({"name": "f", "arguments": each}, ensure_ascii=False)) for each in arguments)
    shown, calls = read(text, size)
    assert shown == ""
    assert [json.loads(each.arguments) for each in calls] == arguments


@pytest.mark.parametrize("most", [0, 1, 2])
def test_calls_over_the_limit_are_removed_and_dropped(most):
    shown, calls = read(ONE + "\n" + TWO + "\n" + ONE, 4, most)
    assert (shown, len(calls)) == ("", most)


def test_the_end_of_a_call_is_known_when_its_json_ends():
    tools = ToolCalls()
    assert tools.feed(ONE.removesuffix(END)) == ""
    assert len(tools.take()) == 1
