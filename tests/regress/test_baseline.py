"""Baseline files: read, changed and written."""

import pytest

from dynamo_nb.errors import BaselineError
from dynamo_nb.regress.baseline import MISSING, Baselines, baseline_path
from dynamo_nb.regress.change import Change, Key

FILE = """\
# our figures

# measured on the small machine
ttft: [{machine: small, value: 12.5}]
answer:   # of the large model too
- value: hello
- {parameters: {model: large}, value: "good day"}
"""


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "n.baseline.yaml"
        path.write_text(text)
        return path

    return write


def test_the_file_stands_beside_its_notebook(tmp_path):
    assert baseline_path(tmp_path / "hello_world.ipynb") == tmp_path / "hello_world.baseline.yaml"


def test_values_are_found_by_name_parameters_and_machine(file):
    baselines = Baselines(file(FILE))
    assert baselines.find("ttft", Key(machine="small")) == 12.5
    assert baselines.find("answer", Key()) == "hello"
    assert baselines.find("answer", Key({"model": "large"})) == "good day"
    for name, key in [
        ("ttft", Key()),
        ("ttft", Key(machine="large")),
        ("answer", Key({"model": "tiny"})),
        ("x", Key()),
    ]:
        assert baselines.find(name, key) is MISSING


def test_lines_of_other_names_stay_as_they_are(file):
    path = file(FILE)
    Baselines(path).apply([Change("fix", "answer", Key({"model": "large"}), "good day", "good\nnight\n")])
    assert path.read_text() == (
        "# our figures\n\n# measured on the small machine\nttft: [{machine: small, value: 12.5}]\n"
        "answer:\n- value: hello\n- parameters:\n    model: large\n  value: |\n    good\n    night\n"
    )
    assert Baselines(path).find("answer", Key()) == "hello"


def test_changes_of_each_category_are_applied(file):
    path = file(FILE)
    baselines = Baselines(path)
    changes = [
        Change("create", "new", Key(), None, [1, 2, 3]),
        Change("update", "ttft", Key(machine="small"), 12.5, 12.75),
        Change("trim", "answer", Key(), "hello"),
    ]
    baselines.apply(changes)
    for found in (baselines, Baselines(path)):
        assert found.find("new", Key()) == [1, 2, 3]
        assert found.find("ttft", Key(machine="small")) == 12.75
        assert found.find("answer", Key()) is MISSING
        assert found.find("answer", Key({"model": "large"})) == "good day"


def test_a_file_without_values_is_removed(file):
    path = file("a: [{value: 1}]\n")
    Baselines(path).apply([Change("trim", "a", Key(), 1)])
    assert not path.exists()


def test_a_new_file_says_what_it_is(tmp_path):
    path = tmp_path / "n.baseline.yaml"
    Baselines(path).apply([Change("create", "a", Key(), None, "x")])
    assert path.read_text().startswith("# Baselines of n.ipynb.")


def test_a_change_that_changes_nothing_does_not_touch_the_file(file):
    path = file(FILE)
    before = path.stat()
    Baselines(path).apply([])
    assert path.stat() == before


def test_values_that_no_expectation_asked_for_are_found(file):
    baselines = Baselines(file(FILE))
    assert [(c.name, c.before) for c in baselines.unused({}, {}, "small")] == [("ttft", 12.5), ("answer", "hello")]
    assert [c.name for c in baselines.unused({"answer": [Key()]}, {}, "other")] == []
    assert [c.before for c in baselines.unused({}, {"model": "large"}, "small")] == ["good day"]


BROKEN = {
    "no YAML": ("a: [", "not YAML"),
    "a list": ("- 1\n", "maps names to lists"),
    "an empty list": ("[]\n", "maps names to lists"),
    "a false value": ("false\n", "maps names to lists"),
    "a text": ("hello\n", "maps names to lists"),
    "a value without a list": ("a: 3\n", "'a' is not a list of entries"),
    "an entry without a value": ("a:\n- machine: m\n", "'a' is not a list of entries"),
    "an unknown field": ("a:\n- {value: 1, machin: m}\n", "'a' is not a list of entries"),
    "parameters that are a list": ("a:\n- {value: 1, parameters: [1]}\n", "the parameters of 'a'"),
    "a machine that is a number": ("a:\n- {value: 1, machine: 3}\n", "the parameters of 'a'"),
    "two entries of one key": ("a:\n- value: 1\n- value: 2\n", "two entries for the same runs"),
    "a name twice": ("a: [{value: 1}]\na: [{value: 2}]\n", "the name 'a' occurs twice"),
    "a tag of Python": ("a: !!python/object:os.system [{value: 1}]\n", "not YAML"),
}  # fmt: skip


def test_a_file_that_is_not_utf_8_is_an_error(file):
    path = file("")
    path.write_bytes(b"a: \xff")
    with pytest.raises(BaselineError, match="not YAML"):
        Baselines(path)


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_an_error_and_stays(file, text, message):
    path = file(text)
    with pytest.raises(BaselineError, match=message) as error:
        Baselines(path)
    assert "n.baseline.yaml" in str(error.value)
    assert path.read_text() == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: 2}, (1,), {"a": [object()]}, b"x"])
def test_a_value_that_yaml_would_change_is_refused_and_nothing_is_written(file, value):
    path = file(FILE)
    with pytest.raises(BaselineError):
        Baselines(path).apply([Change("create", "good", Key(), None, 1), Change("create", "bad", Key(), None, value)])
    assert path.read_text() == FILE


TEXTS = [
    "",
    " ",
    "a\n",
    "\n",
    "a\n\n",
    " a\nb",
    "a\t\nb\n",
    "- x",
    "yes",
    "1",
    "ä\u2028b",
    "\x07bell",
    "x" * 500,
    "a: b",
    "#",
]


@pytest.mark.parametrize("text", TEXTS)
def test_every_text_is_read_back_equal(tmp_path, text):
    baselines = Baselines(tmp_path / "n.baseline.yaml")
    baselines.apply([Change("create", "a", Key(), None, {"t": text, "l": [text, 1]})])
    assert Baselines(baselines.path).find("a", Key()) == {"t": text, "l": [text, 1]}
