"""The help of magics and verbs: `?`, `--help` and `%dynamo help`."""

import pytest

from dynamo_nb.cli.help import verb_help

VERBS = [verb.name for verb in verb_help()]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(shell, verb):
    ran = shell.load().run(f"%dynamo {verb}?")
    assert ran.ok, ran.error
    assert f"Usage: %dynamo {verb}" in ran.text
    assert f"Examples:\n    %dynamo {verb}" in ran.text


@pytest.mark.parametrize(
    "line",
    [
        *("%dynamo scale?", "%dynamo scale ?", "%dynamo scale??", "?%dynamo scale", "? %dynamo scale", "dynamo scale?"),
        *(
            "%dynamo scale Backend=4?",
            "%dynamo scale --help",
            "%dynamo scale -h",
            "%dynamo help scale",
            "if True:\n    %dynamo scale?",
        ),
        "%dynamo \\\n  scale?",
    ],
)
def test_all_ways_to_request_the_help_of_a_verb_show_the_same(shell, line):
    shell.load()
    assert shell.run(line).text.rstrip() == shell.run("%dynamo help scale").text.rstrip() != ""


def test_a_question_mark_in_a_string_is_not_changed(shell):
    text = 'x = """\n%dynamo serve?\n"""\nprint(x)'
    assert shell.load().run(text).text == "\n%dynamo serve?\n\n"


def test_question_marks_on_python_objects_work_as_before(shell):
    shell.load().run("def dynamos():\n    'mine'")
    assert "mine" in shell.run("dynamos?").text


def test_help_for_an_unknown_verb_suggests_the_nearest(shell):
    assert "did you mean 'scale'?" in shell.load().run("%dynamo scael?").error


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("%dynamo?", "%dynamo serve Frontend"),
        ("%%dynamo_service?", "--workers N"),
        ("%%dynamo_exec?", "Backend[*]"),
        ("%%dynamo_config?", "ServiceArgs:"),
        ("serve?", "await serve(Frontend"),
    ],
)
def test_magics_and_functions_have_help(shell, line, text):
    assert text in shell.load().run(line).text
