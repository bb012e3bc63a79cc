"""The modules of a notebook: their text, digests and notes, and the errors for names that cannot be taken."""

import io
import subprocess
import sys
import threading

import pytest

from dynamo_nb.errors import SourceError
from dynamo_nb.source import Cell, CellBook, slice_services

SDK = "from dynamo_nb import service, depends, dynamo_endpoint"


def cells_of(*texts):
    return [Cell(text, f"cell {number}", number) for number, text in enumerate(texts, start=1)]


def text_of(tree, name):
    return next(module.text for module in tree.modules if module.name == f"cells.{name}")


HELLO = cells_of(
    "%load_ext dynamo_nb\nfrom dynamo_nb import depends, dynamo_endpoint, serve, service",
    "from __future__ import annotations",
    "import heavy_missing\nfrom pydantic import BaseModel\n\n\nclass Request(BaseModel):\n    text: str",
    '# how loud\nMARK = "!"\n\n\ndef shout(text):\n    # all of it\n    return text.upper() + MARK',
    '''@service(
    dynamo={"namespace": "hello"},  # not prod
    workers=2,
)
class Backend:
    """Says it back."""

    SIZE = 3

    def __init__(self, suffix="-back"):
        self.suffix = heavy_missing.go(suffix)

    @heavy_missing.compiled
    @dynamo_endpoint()
    async def generate(
        self,
        request: Request,
        size: int = SIZE,
    ):
        """Word by word."""
        for word in request.text.split():
            yield shout(word) + self.suffix

    @dynamo_endpoint()
    async def one(self, x): return x''',
    """@service
class Middle:
    backend = depends(Backend)

    @dynamo_endpoint()
    async def generate(self, text: str):
        async for word in self.backend.generate(Request(text=text)):
            yield word""",
    """@service
class Frontend:
    middle = depends(Middle)

    @dynamo_endpoint()
    async def generate(self, text: str):
        async for word in self.middle.generate(shout(text)):
            yield word""",
    "Frontend.link(Middle).link(Backend)\nawait serve(Frontend)",
)
SERVICES = ["Frontend", "Middle", "Backend"]


def test_the_text_of_a_module():
    assert (
        text_of(slice_services(HELLO, SERVICES), "Middle")
        == '''"""Code of the service Middle, from the cells of a notebook."""

from __future__ import annotations

from cells.shared_Backend_Middle import Request

# cell 1
from dynamo_nb import depends, dynamo_endpoint, service


# cell 5: the interface of Backend
@service(dynamo={"namespace": "hello"})
class Backend:
    SIZE = 3

    @dynamo_endpoint()
    async def generate(
        self,
        request: Request,
        size: int = SIZE,
    ):
        raise NotImplementedError
        yield

    @dynamo_endpoint()
    async def one(self, x):
        raise NotImplementedError


# cell 6
@service
class Middle:
    backend = depends(Backend)

    @dynamo_endpoint()
    async def generate(self, text: str):
        async for word in self.backend.generate(Request(text=text)):
            yield word
'''
    )


def test_the_text_of_a_statement_is_as_typed_with_its_comments():
    tree = slice_services(HELLO, SERVICES)
    assert f"\n# cell 4\n{HELLO[3].text}\n" in text_of(tree, "shared_Backend_Frontend")
    assert f"\n# cell 5\n{HELLO[4].text}\n" in text_of(tree, "Backend")


def test_the_source_map_has_every_typed_line():
    cells = {cell.label: cell.text.splitlines() for cell in HELLO}
    titles = set()
    for module in slice_services(HELLO, SERVICES).modules:
        lines = module.text.splitlines()
        for span in module.source_map:
            label = span.cell.partition(' "')[0]
            titles.add(span.cell)
            written, typed = (
                lines[span.line - 1 : span.line - 1 + span.lines],
                cells[label][span.cell_line - 1 : span.cell_line - 1 + span.lines],
            )
            assert written == typed or (span.lines == 1 and written[0].split()[:3] == typed[0].split()[:3])  # an import
    assert titles == {
        "cell 1",
        'cell 3 "Request"',
        'cell 4 "shout"',
        'cell 5 "Backend"',
        'cell 6 "Middle"',
        'cell 7 "Frontend"',
    }


def test_a_cell_is_named_after_its_first_service_or_definition():
    cells = cells_of(
        SDK,
        "def f():\n    pass\nclass C:\n    pass",
        f"def g():\n    pass\n{using('f(), C, g()')}",
    )
    (module,) = (m for m in slice_services(cells, ["A"]).modules if m.name == "cells.A")
    assert {span.cell for span in module.source_map} == {"cell 1", 'cell 2 "f"', 'cell 3 "A"'}


def test_the_source_map_changes_neither_code_nor_digests():
    moved = [Cell(f"\n# a new remark\n\n{cell.text}" if n else cell.text, cell.label) for n, cell in enumerate(HELLO)]
    before, after = slice_services(HELLO, SERVICES), slice_services(moved, SERVICES)
    assert after == before
    assert [one.source_map for one in after.modules] != [one.source_map for one in before.modules]


def test_the_modules_are_formatted(tmp_path):
    cells = [
        HELLO[0],
        *HELLO[2:4],
        *cells_of("import os\nimport re\nX = 1\n\n\n\nY = 2\nclass Z: pass".replace("class Z: pass", "")),
        *HELLO[5:7],
    ]
    cells.append(Cell("@service\nclass Backend:\n    def run(self):\n        return X, Y, os", "cell 9"))
    slice_services(cells, SERVICES).write(tmp_path / "code")
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--isolated", "--diff", tmp_path / "code"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""
    assert done.returncode == 0, done.stderr


def test_a_service_imports_nothing_that_only_others_need(tmp_path):
    tree = slice_services(HELLO, SERVICES)
    tree.write(tmp_path / "code")
    script = (
        "import sys, importlib, inspect; m, c = sys.argv[1].split(':'); k = getattr(importlib.import_module(m), c); "
    )
    script += "print(inspect.isasyncgenfunction(inspect.unwrap(getattr(k.generate, 'function', k.generate))), sorted(x for x in sys.modules if x.startswith('cells.')))"

    def imported(service):
        command = [sys.executable, "-c", script, tree.targets[service]]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path / "code", check=False)

    for service in ("Frontend", "Middle"):
        done = imported(service)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip().endswith(str([name for name in tree.closures[service] if name != "cells"]))
    assert "No module named 'heavy_missing'" in imported("Backend").stderr


def test_the_interface_of_a_service_is_an_async_generator_where_the_service_is_one(tmp_path):
    slice_services(HELLO, SERVICES).write(tmp_path / "code")
    script = "import ast, inspect; from cells.Middle import Backend; from dynamo_nb.sdk.endpoint import endpoints_of; "
    script += "e = endpoints_of(Backend); print({k: inspect.isasyncgenfunction(v.function) for k, v in e.items()})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path / "code", check=False
    )
    assert done.stdout.strip() == "{'generate': True, 'one': False}", done.stderr


CALLEE = '''\
@service(dynamo={"namespace": "one"}, workers=2)
class B:
    """Says it back."""

    @dynamo_endpoint()
    async def say(self, text: str):
        """Once."""
        return text'''


@pytest.mark.parametrize(
    "change",
    [
        ("workers=2", "workers=3"),
        (", workers=2", ', workers=LATER, resources={"gpu": 1}, labels={"a": "b"}'),
        ("Says it back.", "Says it again."),
        ('    """Says it back."""\n', ""),
        ("Once.", "Twice."),
        ("return text", "return text.upper()"),
    ],
)
def test_implementation_is_not_part_of_the_interface(change):
    assert _digest_of_the_caller(CALLEE.replace(*change)) == _digest_of_the_caller(CALLEE)


@pytest.mark.parametrize(
    "change",
    [
        ('"one"', '"two"'),
        ('{"namespace": "one"}', "PLACE"),
        ("dynamo={", '**PLACE, labels={"a": "b"}, dynamo={'),
        ("text: str", "text: bytes"),
        ("text: str", 'text: str = ""'),
        ("def say", "def tell"),
        ("endpoint()", "endpoint(retry=False)"),
    ],
)
def test_signatures_and_address_are_part_of_the_interface(change):
    assert _digest_of_the_caller(CALLEE.replace(*change)) != _digest_of_the_caller(CALLEE)


def _digest_of_the_caller(callee):
    cells = cells_of(SDK, "LATER = 2\nPLACE = {}", callee, "@service\nclass A:\n    b = depends(B)")
    return slice_services(cells, ["A", "B"]).digests["A"]


def test_the_address_in_an_interface_may_span_several_lines():
    callee = CALLEE.replace('{"namespace": "one"}', "dict(\n    namespace='one',\n)")
    tree = slice_services(cells_of(SDK, callee, "@service\nclass A:\n    b = depends(B)"), ["A", "B"])
    assert "@service(dynamo=dict(namespace='one'))\nclass B:\n" in text_of(tree, "A")


# --- digests


def digests(*cells):
    return slice_services(cells, ["A", "B"]).digests


def test_a_digest_changes_only_with_the_code_of_its_service():
    sdk, helper, a, b = cells_of(
        SDK,
        "def f():\n    return 1",
        "@service\nclass A:\n    b = depends('B')\n    def run(self): f()",
        "@service\nclass B:\n    pass",
    )
    before = digests(sdk, helper, a, b)
    assert digests(sdk, helper, Cell(a.text.replace("run", "go"), "cell 3"), b)["B"] == before["B"]
    changed = digests(sdk, Cell(helper.text.replace("1", "2"), "cell 2"), a, b)
    assert changed["A"] != before["A"]
    assert changed["B"] == before["B"]
    # Unchanged cells in another order, with other labels, and another service that shares the helper.
    sharing = Cell("@service\nclass C:\n    def run(self): f()", "cell 12")
    again = [Cell(one.text, f"{one.label}0") for one in (sdk, b, a, helper)]
    assert slice_services([*again, sharing], ["C", "B", "A"]).digests["A"] == before["A"]


def test_a_signature_changes_the_digest_of_callers_and_a_body_does_not():
    sdk, b, a = cells_of(
        SDK,
        "@service\nclass B:\n    @dynamo_endpoint()\n    async def go(self, x):\n        return x",
        "@service\nclass A:\n    b = depends(B)",
    )
    before = digests(sdk, b, a)["A"]
    assert digests(sdk, Cell(b.text.replace("return x", "return x + 1"), "cell 2"), a)["A"] == before
    assert digests(sdk, Cell(b.text.replace("self, x", "self, x, y=1"), "cell 2"), a)["A"] != before


def test_a_digest_depends_on_the_order_of_bindings():
    body = "@service\nclass A:\n    x = y\n@service\nclass B:\n    pass"
    one = digests(*cells_of(SDK, "x = 1", "y = 2\ny += x", body))
    two = digests(*cells_of(SDK, "x = 1", "y = 2\ny -= x", body))
    assert one["A"] != two["A"]


# --- rejected names


def rejected(*texts, live=None, services=("A",), cells=None):
    with pytest.raises(SourceError) as caught:
        slice_services(cells or cells_of(SDK, *texts), services, live=live)
    return [str(problem) for problem in caught.value.problems]


def using(name):
    return f"@service\nclass A:\n    def run(self):\n        return {name}"


def test_the_error_lists_every_faulty_name_with_cell_and_line():
    assert rejected(
        "def helper():\n    return 1 +\\\n        missing",
        "@service\nclass A:\n    def run(self):\n        helpr()\n        helper()",
    ) == [
        "A: 'helpr' is defined nowhere; did you mean 'helper'?  (cell 3, line 4)",
        "helper: 'missing' is defined nowhere  (cell 2, line 3)",
    ]


def test_the_error_names_a_failed_or_skipped_cell_that_defines_the_name():
    broken = [*cells_of(SDK, "x = (", using("x"))]
    assert rejected(cells=broken) == [
        "A: 'x' is defined nowhere, unless in cell 2, which has a syntax error in line 1  (cell 3, line 4)"
    ]
    assert rejected("%%time\nx = 1", using("x")) == [
        "A: 'x' is defined only in cell 2, which is a %%time cell  (cell 3, line 4)"
    ]
    failed = [*cells_of(SDK), Cell("y = 1\n1 / 0\nx = 1", "cell 2", failed_at=2), Cell(using("x, y"), "cell 3")]
    assert rejected(cells=failed) == ["A: 'x' is defined only in cell 2, which failed at line 2  (cell 3, line 4)"]


def test_names_that_only_ipython_has_are_rejected():
    assert rejected("files = !ls", using("files")) == [
        "files: 'get_ipython' exists only in a notebook (IPython's % and ! lines need it)  (cell 2, line 1)"
    ]
    assert rejected(using("display(1)")) == ["A: 'display' exists only in a notebook  (cell 2, line 4)"]


def test_await_at_the_top_of_a_needed_cell_is_rejected():
    assert rejected("x = await go()\n", "async def go(): pass", using("x"))[0].startswith(
        "x: `await` at the top of a cell: make it inside"
    )
    slice_services(cells_of(SDK, "async def go():\n    await go()\n", using("go")), ["A"])


def test_an_open_file_is_rejected_before_the_cell_runs():
    assert rejected("log = open('x')", using("log"))[0].startswith(
        "'log' is an open file: make it inside __init__ or a start hook"
    )


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (threading.Lock(), "a lock"),
        (threading.Thread(), "a thread"),
        ((n for n in ()), "a generator"),
        (sys.__stderr__, "an open file"),
    ],
    ids=["lock", "thread", "generator", "file"],
)
def test_a_live_value_that_is_state_is_rejected(value, kind):
    assert rejected("thing = make()", "def make(): pass", using("thing"), live={"thing": value})[0].startswith(
        f"'thing' is {kind}: "
    )


def test_a_file_in_memory_is_not_state():
    slice_services(
        cells_of(SDK, "import io\nthing = io.StringIO()", using("thing")), ["A"], live={"thing": io.StringIO()}
    )


def test_a_plain_live_value_that_no_cell_defines_becomes_an_assignment():
    live = {"limits": {"a": [1, 2.5, None, ("x",)]}}
    text = text_of(slice_services(cells_of(SDK, using("limits")), ["A"], live=live), "A")
    assert "# the notebook's memory\nlimits = {'a': [1, 2.5, None, ('x',)]}\n" in text


def test_other_live_values_are_rejected_with_the_line_that_would_define_them():
    assert rejected(using("js"), live={"js": __import__("json")})[0].startswith(
        "A: 'js' is in the notebook's memory, but no cell defines it: put `import json as js` in a cell"
    )
    assert rejected(using("inf"), live={"inf": float("inf")})[0].startswith("A: 'inf' is in the notebook's memory")


def test_a_service_that_no_cell_defines_is_an_error():
    assert rejected("x = 1\n@service\nclass Back:\n    pass", services=["Bak"]) == [
        "no cell defines the service 'Bak': 'Bak' is defined nowhere; did you mean 'Back'?; services: Back"
    ]


def test_an_old_value_that_another_module_needs_is_rejected():
    cells = cells_of(
        SDK, "x = 1\nw = x", "z = x", "x = 2", using("w, x, z"), using("w, x").replace("class A", "class B")
    )
    assert rejected(cells=cells, services=["A", "B"])[0].startswith(
        "z: 'x' has several values over time, which A and B share; "
    )
    assert slice_services(cells, ["A"]).targets == {"A": "cells.A:A"}


def test_a_name_that_global_rebinds_cannot_be_shared():
    cells = cells_of(
        SDK,
        "n = 0\ndef up():\n    global n\n    n += 1",
        using("up(), n"),
        "@service\nclass B:\n    def run(self): return n",
    )
    assert rejected(cells=cells, services=["A", "B"])[0].startswith(
        "A: 'n' is rebound by `global`, and A and B share it"
    )
    assert slice_services(cells, ["A"]).targets == {"A": "cells.A:A"}


# --- notes


def test_a_note_names_a_call_that_may_be_a_change_or_a_use():
    tree = slice_services(
        cells_of(SDK, "x = 1\nxs = make()\ndef make(): pass", "y = 2\nxs.guard(\n    1)", using("x, xs")), ["A"]
    )
    (note,) = tree.notes
    assert note.startswith("cell 3, line 2: `xs.guard(1)` may change xs, so it runs in workers too")


def notes(*texts, services=("A",), ids=()):
    cells = [Cell(text, f"cell {n}", n, dict(enumerate(ids, 2)).get(n)) for n, text in enumerate([SDK, *texts], 1)]
    return slice_services(cells, services).notes


def test_a_note_names_both_cells_that_bind_a_name():
    assert notes("x = 1", "x = 2", using("x"), "x = 3") == ("x is from cell 5 (cell 2 set it before)",)
    assert notes("x = 1", "x += 1", using("x")) == ("x is from cell 3 (cell 2 set it before)",)
    assert notes("def f(): return 1", using("f()"), "def f(): return 2") == ("f is from cell 4 (cell 2 set it before)",)
    assert notes("from os import path", "from sys import path", using("path")) == (
        "path is from cell 3 (cell 2 set it before)",
    )
    assert notes(using("1"), using("2")) == ("A is from cell 3 (cell 2 set it before)",), "the service itself"


def test_a_rebound_dependency_is_noted_once():
    b = "@service\nclass B:\n    def run(self): return "
    user = "@service\nclass A:\n    b = depends(B)"
    assert notes(f"{b}1", f"{b}2", user, services=("A", "B")) == ("B is from cell 3 (cell 2 set it before)",)
    assert notes(f"{b}1", f"{b}2", user) == ("B is from cell 3 (cell 2 set it before)",)
    assert notes(f"{b}1", f"{b}1", user) == ()


@pytest.mark.parametrize(
    "cells",
    [
        ("x = 1\nx = 2", using("x")),  # one cell
        ("x = 1", "x = 2", using("'no x'")),
        ("x = 1", "x = 1", using("x")),  # the same statement twice
        ("import json", "y = 1\nimport json", using("json")),
        ("import xml.dom", "import xml.sax", using("xml")),
        ("import os", "os.environ['K'] = 'v'", using("os")),  # a change of the object
        ("d = {}", "d['a'] = 1", using("d")),
        ("x = 1", "y = x + 1", "x = 2", using("y")),  # y keeps its value in the notebook too
        ("for i in 'ab': p = i", "for i in 'cd': q = i", using("q")),
    ],
)
def test_ordinary_cells_have_no_notes(cells):
    assert notes(*cells) == ()


def test_another_run_of_a_cell_is_an_edit_and_not_a_rebinding():
    book = CellBook()
    book.record(Cell(SDK, "cell 1", cell_id="sdk"))
    book.record(Cell("x = 1\n1 / 0", "cell 2", cell_id="x", failed_at=2))
    book.record(Cell("x = 2", "cell 3", cell_id="x"))
    book.record(Cell(using("x"), "cell 4"))
    assert slice_services(book.cells, ["A"]).notes == ()


# --- CellBook


def test_another_run_of_a_cell_replaces_the_earlier_run():
    book = CellBook()
    for text, cell_id in [("x = 1", "a"), ("y = 1", "b"), ("z = 1", "a"), ("w = 1", None), ("w = 1", None)]:
        book.record(Cell(text, "cell", cell_id=cell_id))
    assert [cell.text for cell in book] == ["y = 1", "z = 1", "w = 1"]


def test_a_failed_run_keeps_earlier_definitions_and_adds_its_own():
    book = CellBook()
    book.record(Cell(f"{SDK}\nx = 1\ny = 1", "cell 1", cell_id="a"))
    book.record(Cell(f"{SDK}\nx = 2\n1 / 0\ny = 2", "cell 2", cell_id="a", failed_at=3))
    book.record(Cell(using("x, y"), "cell 3"))
    text = text_of(slice_services(book.cells, ["A"]), "A")
    assert "x = 2" in text
    assert "y = 1" in text
