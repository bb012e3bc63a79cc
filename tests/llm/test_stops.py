import pytest

from dynamo_nb.llm.text.stops import Stops
from dynamo_nb.llm.text.tools import ToolCalls


def shown(stops, pieces):
    """The text that is shown of the pieces, and the stop text that was found."""
    found = Stops(stops)
    text = "".join(map(found.feed, pieces))
    return text + ("" if found.found else found.end()), found.found


def splits(text):
    """The text cut in two at every position, and letter by letter."""
    return [[text[:n], text[n:]] for n in range(len(text) + 1)] + [list(text)]


@pytest.mark.parametrize(
    ("stops", "text", "expected"),
    [
        ([], "all of it", ("all of it", "")),
        (["END"], "before END after", ("before ", "END")),
        (["END"], "EN", ("EN", "")),
        (["END"], "ENEND", ("EN", "END")),
        (["aab"], "aaab", ("a", "aab")),
        (["abab", "c"], "ababc", ("", "abab")),
        (["later", "x"], "1x later", ("1", "x")),
        (["abcd", "bc"], "abcd", ("a", "bc")),
        (["bc", "abc"], "abc", ("a", "bc")),
        (["abc", "bc"], "abc", ("", "abc")),
        (["\n\n"], "one\ntwo\n\nthree", ("one\ntwo", "\n\n")),
        (["", "b"], "abc", ("a", "b")),
        (["é"], "café au lait", ("caf", "é")),
    ],
)
def test_the_text_before_the_first_stop_is_shown_for_every_cut(stops, text, expected):
    for pieces in splits(text):
        assert shown(stops, pieces) == expected


def test_text_that_cannot_become_a_stop_is_shown_at_once():
    stops = Stops(["<end>"])
    assert stops.feed("a < b") == "a < b"
    assert stops.feed("<e") == ""
    assert stops.feed("lse") == "<else"


CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Ulm"}}\n</tool_call>'


@pytest.mark.parametrize(
    ("text", "rest", "names"),
    [
        ("plain", "plain", []),
        (CALL, "", ["weather"]),
        (f"I ask.{CALL}{CALL}done", "I ask.done", ["weather", "weather"]),
        ("<tool_call>not JSON</tool_call>", "<tool_call>not JSON</tool_call>", []),
        ("<tool_call>[1]</tool_call>", "<tool_call>[1]</tool_call>", []),
        ('<tool_call>{"name": "cut', '<tool_call>{"name": "cut', []),
        ("a <tool", "a <tool", []),
    ],
)
def test_tool_calls_are_removed_from_the_text_for_every_cut(text, rest, names):
    for pieces in splits(text):
        tools = ToolCalls()
        left = "".join(map(tools.feed, pieces)) + tools.end()
        calls = tools.take()
        assert left == rest
        assert [call.name for call in calls] == names
        assert tools.count == len(calls)
        assert len({call.id for call in calls}) == len(calls)
        assert all(call.arguments == '{"city": "Ulm"}' for call in calls)
