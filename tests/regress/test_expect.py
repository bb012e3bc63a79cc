"""Expectations in cells of a real kernel, and in programs."""

import json
import subprocess
import sys

import pytest
import yaml
from kernel_cells import Cells

PASSES = {
    "equal": "expect(3) == 3",
    "not equal": "expect(3) != 4",
    "less": "expect(3) < 4",
    "at most": "expect(3) <= 3",
    "more": "expect(3) > 2",
    "at least": "expect(3) >= 3",
    "between": "assert 1 < expect(3) < 4",
    "from the other side": "3 == expect(3)",
    "is in": "expect(3).is_in([1, 3])",
    "contains": "expect('hello').contains('ell')",
    "in it": "assert 'ell' in expect('hello')",
    "near": "expect(0.1 + 0.2).is_near(0.3)",
    "arrays": "import numpy as np; expect(np.array([1, 2])) == np.array([1, 2])",
    "two-dimensional arrays": "import numpy as np; expect(np.eye(2)) == np.eye(2)",
    "none": "expect(None) == None",
    "number at most": "expect.number('n', 3).at_most(3)",
    "number at least": "expect.number('n', 3).at_least(3)",
    "number near": "expect.number('n', 105).within(0.05).of(100)",
}
FAILS = {
    "equal": ("x = 3; expect(x + 1) == 3", ["x + 1: expected == 3", "value: 4"]),
    "order": ("expect(3) < 3", ["3: expected < 3", "value: 3"]),
    "text": ("expect('a') == 'b'", ["'a': expected == 'b'", "value: 'a'"]),
    "long texts": (
        "expect('a\\nb\\nc\\n') == 'a\\nX\\nc\\n'",
        ["expected == this text", "difference:", "-X", "+b"],
    ),
    "NaN": ("expect(float('nan')) == float('nan')", ["the value is NaN"]),
    "types that cannot be compared": ("expect(3) < 'a'", ["the comparison raised TypeError"]),
    "a value whose repr fails": (
        "class A:\n    def __repr__(self): 1 / 0\nexpect(A()) == 3",
        ["<A, whose repr raised ZeroDivisionError>"],
    ),
    "arrays": ("import numpy as np; expect(np.array([1, 2])) == np.array([1, 3])", ["array([1, 2])"]),
    "arrays of different shapes": ("import numpy as np; expect(np.zeros(2)) == np.zeros(3)", ["expected =="]),
    "no check": ("expect(3 + 4)", ["3 + 4: expected a check"]),
    "no check before another expectation": ("expect(3 + 4)\nexpect(5) == 5", ["3 + 4: expected a check"]),
    "no check of a number": ("expect.number('n', 3).within(0.1)", ["n: expected a check"]),
    "number": ("expect.number('ttft', 12.5).at_most(10)", ["ttft: expected at most 10", "value: 12.5"]),
    "NaN is not at most": ("expect.number('n', float('nan')).at_most(10)", ["value: nan"]),
    "number far": ("expect.number('n', 120).within(0.1).of(100)", ["within 10 % of 100", "20 % more"]),
    "a truth": ("assert expect(3)", ["has no truth value", "compare it"]),
    "membership": ("expect(3) in [1, 2, 3]", ["write expect(3).is_in(…)"]),
    "no membership": ("expect(3) not in [1, 2]", ["is_in"]),
    "no number": ("expect.number('n', 'fast')", ["'n' is not a number but 'fast'"]),
    "no text": ("expect.text(3).matches_baseline()", ["3 is not a text but 3"]),
    "logprobs of another length": ("expect.tokens([1, 2], logprobs=[0.0])", ["2 tokens have 1 log probabilities"]),
}  # fmt: skip


@pytest.fixture(scope="module")
def shared(request, new_home, tmp_path_factory):
    folder = tmp_path_factory.mktemp("n")
    with new_home() as home:
        (folder / "n.ipynb").write_text("{}")
        cells = Cells(home, {})
        cells.run(f"%cd -q {folder}\nfrom dynamo_nb.regress import expect")
        yield cells
        cells.close()


@pytest.mark.parametrize("code", PASSES.values(), ids=PASSES)
def test_an_expectation_that_is_met_is_silent(shared, code):
    assert shared.run(code) == ""
    assert shared.text == ""


@pytest.mark.parametrize(("code", "shown"), FAILS.values(), ids=FAILS)
def test_a_failed_expectation_fails_its_cell_and_shows_both_sides(shared, code, shown):
    error = shared.run(code)
    assert all(part in error for part in shown), error


def test_all_expectations_of_a_cell_are_reported_and_its_lines_run(shared):
    error = shared.run("expect(1) == 2\nexpect(2) == 2\nexpect(3) == 4\nafter = 'ran'")
    assert "2 expectations failed" in error
    assert "1: expected == 2" in error
    assert "3: expected == 4" in error
    assert shared.run("assert after == 'ran'") == ""


def test_a_cell_that_raises_reports_its_own_error_and_its_expectations(shared):
    error = shared.run("expect(1) == 2\n1 / 0")
    assert "ZeroDivisionError" in error
    assert "1: expected == 2" in error


def test_a_failed_expectation_is_forgotten_in_the_next_cell(shared):
    assert shared.run("expect(1) == 2")
    assert not shared.run("expect(1) == 1")


def test_a_cell_that_awaits_can_expect(shared):
    assert "1: expected == 2" in shared.run("import asyncio\nawait asyncio.sleep(0)\nexpect(1) == 2")


def test_a_program_fails_at_once(tmp_path):
    program = "from dynamo_nb.regress import expect\nexpect(1) == 1\nexpect(1) == 2\nprint('after')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "ExpectationFailed: an expectation failed" in done.stderr
    assert "after" not in done.stdout


def test_results_of_a_run_are_written_at_once(new_cells):
    cells = new_cells(run=True)
    cells.run("expect(1) == 1\nexpect(1) == 2")
    cells.run("expect(5)")
    lines = [json.loads(line)["outcome"] for line in (cells.folder / "results.jsonl").read_text().splitlines()]
    assert [(line["passed"], line["cell"], line["what"]) for line in lines] == [
        (True, "cell 2", "== 1"),
        (False, "cell 2", "== 2"),
        (False, "cell 3", "a check"),
    ]


NUMBER = "expect.number('n', {}, by_machine=False).within(0.1).of_baseline()"
TOKENS = "expect.tokens({}, name='t', logprobs={}, batch_invariant={}).equal_baseline()"
CREATE = {
    "text": ("t = 'a\\nb\\n'\nexpect.text(t).matches_baseline()", {"t": [{"value": "a\nb\n"}]}),
    "named text": ("expect.text('x', name='short').matches_baseline()", {"short": [{"value": "x"}]}),
    "number": (NUMBER.format(12.5), {"n": [{"value": 12.5}]}),
    "whole number": (NUMBER.format(12), {"n": [{"value": 12}]}),
    "number of a machine": (
        "expect.number('n', 2).of_baseline()",
        {"n": [{"machine": "m", "parameters": {"size": 3}, "value": 2}]},
    ),
    "rows": ("t = [{'a': 1, 'b': 'x'}]\nexpect.table(t).matches_baseline()", {"t": [{"value": [{"a": 1, "b": "x"}]}]}),
    "columns": ("t = {'a': [1, 2]}\nexpect.table(t).matches_baseline()", {"t": [{"value": [{"a": 1}, {"a": 2}]}]}),
    "numbers of numpy": (
        "import numpy as np\nt = {'a': np.array([1.5])}\nexpect.table(t).matches_baseline()",
        {"t": [{"value": [{"a": 1.5}]}]},
    ),
    "tokens": (
        TOKENS.format("[1, 2]", "[-0.5, -0.25]", True),
        {"t": [{"value": {"tokens": [1, 2], "batch_invariant": True, "logprobs": [-0.5, -0.25]}}]},
    ),
}


@pytest.mark.parametrize(("code", "stored"), CREATE.values(), ids=CREATE)
def test_a_value_without_a_baseline_is_created_when_accepted_and_then_matches(new_cells, code, stored):
    machine = "number of a machine"
    cells = new_cells(run=True, machine="m", **({"size": 3} if code == CREATE[machine][0] else {}))
    assert "there is no baseline" in cells.run(code)
    assert cells.baseline == ""
    assert not cells.run("assert expect.accept('fix', 'update', 'trim') == 0\nassert expect.accept() == 1")
    assert yaml.safe_load(cells.baseline) == stored
    changes = [json.loads(line).get("change") for line in (cells.folder / "results.jsonl").read_text().splitlines()]
    assert [change["category"] for change in changes if change] == ["create"]


def test_an_open_notebook_passes_without_a_baseline_and_fails_with_another_one(cells):
    assert not cells.run("expect.text('one', name='t').matches_baseline()")
    assert not cells.run("expect.accept()")
    assert not cells.run("expect.text('one', name='t').matches_baseline()")
    error = cells.run("expect.text('two', name='t').matches_baseline()")
    assert all(part in error for part in ("t: expected its baseline", "value: 'two'", "expected: 'one'"))
    assert not cells.run("expect.accept('fix')\nexpect.text('two', name='t').matches_baseline()")


def test_a_notebook_whose_path_is_not_known_names_its_baseline_file(dynamo_home, new_cells):
    cells = new_cells()
    cells.run("import os; del os.environ['JPY_SESSION_NAME']")
    assert "the path of this notebook is not known" in cells.run("expect.text('a', name='t').matches_baseline()")
    cells.run("expect.baseline_file = 'own.yaml'\nexpect.text('a', name='t').matches_baseline()\nexpect.accept()")
    assert (cells.folder / "own.yaml").read_text().endswith("t:\n- value: a\n")


BASELINE = "t: [{value: {tokens: [1, 2, 3], logprobs: [-0.5, -0.5, -0.5], batch_invariant: %s}}]"
TOKEN_CASES = {
    "equal": ("false", "[1, 2, 3]", "[-0.5, -0.5, -0.5]", False, ""),
    "as likely": ("false", "[1, 7, 9]", "[-0.5, -0.55, -3.0]", False, ""),
    "less likely": ("false", "[1, 7, 9]", "[-0.5, -0.7, -3.0]", False, "the log probability of token 1 differs by 0.2"),
    "less likely before": ("false", "[1, 2, 9]", "[-0.9, -0.5, -0.5]", False, "token 0 differs by 0.4"),
    "without log probabilities": ("false", "[1, 7, 9]", "None", False, "tokens cannot be compared for equality"),
    "an earlier end": ("false", "[1, 2]", "[-0.5, -0.5]", False, "one answer ends at token 2"),
    "invariant engines": ("true", "[1, 2, 7]", "[-0.5, -0.5, -0.5]", True, "token 2 is the first one that differs"),
    "one invariant engine": ("true", "[1, 2, 7]", "[-0.5, -0.5, -0.5]", False, ""),
}


@pytest.mark.parametrize(("stored", "tokens", "logprobs", "invariant", "reason"), TOKEN_CASES.values(), ids=TOKEN_CASES)
def test_tokens_are_equal_or_as_likely(dynamo_home, new_cells, stored, tokens, logprobs, invariant, reason):
    cells = new_cells(run=True)
    (cells.folder / "n.baseline.yaml").write_text(BASELINE % stored)
    error = cells.run(TOKENS.format(tokens, logprobs, invariant))
    assert reason in error
    assert bool(error) is bool(reason)


NUMBERS = {
    "equal": (100, "", None),
    "within": (109, "", "update"),
    "above": (111, "11 % more", "fix"),
    "below": (89, "11 % less", "fix"),
    "NaN": ("float('nan')", "nan cannot be a baseline", None),
}


@pytest.mark.parametrize(("value", "reason", "category"), NUMBERS.values(), ids=NUMBERS)
def test_a_figure_is_within_its_tolerance_or_its_change_is_offered(new_cells, value, reason, category):
    cells = new_cells(run=True)
    (cells.folder / "n.baseline.yaml").write_text(text := "n: [{value: 100}]  # measured by hand\n")
    error = cells.run(NUMBER.format(value))
    assert reason in error
    assert bool(error) is bool(reason)
    lines = [json.loads(line) for line in (cells.folder / "results.jsonl").read_text().splitlines()]
    assert [line["change"]["category"] for line in lines if "change" in line] == ([category] if category else [])
    assert cells.baseline == text


MISTAKES = {
    "two of one name": ("expect.text('a', name='t').matches_baseline()\n" * 2, "two expectations have the name 't'"),
    "a loop": ("for t in 'ab': expect.text(t).matches_baseline()", "two expectations have the name 't'"),
    "no columns of one length": ("expect.table({'a': [1], 'b': []}).matches_baseline()", "different lengths"),
    "no table": ("expect.table([1, 2]).matches_baseline()", "is not a table"),
    "a value of another type": ("expect.table([{'a': {1}}]).matches_baseline()", "a value of type set cannot be"),
    "infinite": ("expect.number('n', float('inf')).of_baseline()", "inf cannot be a baseline"),
    "NaN in a table": ("expect.table([{'a': float('nan')}]).matches_baseline()", "nan cannot be a baseline"),
}


@pytest.mark.parametrize(("code", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_an_error_and_leaves_no_baseline(cells, code, message):
    assert message in cells.run(code)
    assert cells.baseline == ""


def test_two_of_one_name_in_a_run_name_both_cells(new_cells):
    cells = new_cells(run=True)
    cells.run("expect.text('a', name='t').matches_baseline()")
    error = cells.run("expect.text('b', name='t').matches_baseline()")
    assert "two expectations have the name 't'" in error
    assert "cell 2 and cell 3" in error


def test_a_graph_is_compared_by_its_services_and_edges(new_cells):
    cells = new_cells(run=True)
    graph = """
from dynamo_nb import depends, dynamo_endpoint, service
@service
class B:
    @dynamo_endpoint()
    async def f(self) -> str: return "b"
@service
class A:
    b = depends(B)
"""
    cells.run(graph)
    cells.run("expect.graph(A).matches_baseline()")
    assert not cells.run("expect.accept()")
    assert "B" in yaml.safe_load(cells.baseline)["A"][0]["value"]
