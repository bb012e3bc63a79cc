"""`cells -> modules`, as one table. A module is shown as the heads of its statements, in order."""

import ast

import pytest

from dynamo_nb.source import Cell, slice_services

SDK = "from dynamo_nb import service, depends, dynamo_endpoint"


def cells_of(*texts):
    return [Cell(text, f"cell {number}", number) for number, text in enumerate(texts, start=1)]


def service(name, *body, decorator="@service"):
    return f"{decorator}\nclass {name}:\n    def run(self):\n        " + "\n        ".join(body or ["pass"])


def heads(module):
    found = []
    for node in ast.parse(module.text).body[1:]:
        if isinstance(node, ast.ClassDef):
            found.append(f"{'interface' if f'interface of {node.name}' in module.text else 'class'} {node.name}")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.append(f"def {node.name}")
        else:
            found.append(ast.unparse(node).splitlines()[0])
    return [head for head in found if not head.startswith("from dynamo_nb import")]


def shown(tree):
    return {one.name.removeprefix("cells."): heads(one) for one in tree.modules if one.name != "cells"}


A, B = "class A", "class B"

TABLE = {
    # what a statement needs
    "nothing else comes along": (["x = 1", service("A")], {"A": [A]}),
    "a function's body": (["x = 1", service("A", "return x")], {"A": ["x = 1", A]}),
    "transitively": (
        ["import json", "def f():\n    return g()", "def g():\n    return json", service("A", "f()")],
        {"A": ["import json", "def f", "def g", A]},
    ),
    "locals are not global names": (["x = 1", service("A", "x = 2", "return x")], {"A": [A]}),
    "a name bound on a function's last line is local on its first": (
        ["x = 1", service("A", "print(lambda: x)", "x = 2")],
        {"A": [A]},
    ),
    "parameters": (
        ["x = 1", "def f(x, *y, z=None, **k):\n    return x, y, z, k", service("A", "f()")],
        {"A": ["def f", A]},
    ),
    "defaults": (["x = 1", "def f(y=x):\n    pass", service("A", "f()")], {"A": ["x = 1", "def f", A]}),
    "decorators": (
        ["import functools", "@functools.cache\ndef f():\n    pass", service("A", "f()")],
        {"A": ["import functools", "def f", A]},
    ),
    "bases and keywords": (
        ["class M(type):\n    pass", "class P:\n    pass", "@service\nclass A(P, metaclass=M):\n    pass"],
        {"A": ["class M", "class P", A]},
    ),
    "annotations": (
        ["class R:\n    pass", "class Q:\n    pass", "@service\nclass A:\n    def f(self, r: R) -> Q:\n        pass"],
        {"A": ["class R", "class Q", A]},
    ),
    "string annotations": (
        ["class R:\n    pass", "@service\nclass A:\n    def f(self, r: 'list[R]'):\n        pass"],
        {"A": ["class R", A]},
    ),
    "a string inside an annotation": (
        ["class R:\n    pass", "@service\nclass A:\n    r: list['R']"],
        {"A": ["class R", A]},
    ),
    "Literal's strings are no names": (
        ["from typing import Literal", "fast = 1", "@service\nclass A:\n    m: Literal['fast']"],
        {"A": ["from typing import Literal", A]},
    ),
    "Annotated's strings are no names": (
        ["from typing import Annotated", "hint = 1", "@service\nclass A:\n    m: Annotated[int, 'hint']"],
        {"A": ["from typing import Annotated", A]},
    ),
    "a function's local annotations are never evaluated": (
        ["class R:\n    pass", service("A", "r: R = 1", "return r")],
        {"A": [A]},
    ),
    "comprehensions have a scope": (["x = 1", service("A", "return [x for x in range(3)]")], {"A": [A]}),
    "a comprehension's first iterable is evaluated outside": (
        ["x = [1]", service("A", "return [y for y in x]")],
        {"A": ["x = [1]", A]},
    ),
    "walrus in a comprehension": (
        ["y = 1", service("A", "return [y := n for n in range(3)], y")],
        {"A": [A]},
    ),
    "walrus at the top of a cell": (
        ["print(n := 3)", "if (m := 4):\n    pass", service("A", "return m")],
        {"A": ["if (m := 4):", A]},
    ),
    "a class does not hide names from its methods": (
        ["x = 1", "@service\nclass A:\n    x = 2\n    def f(self):\n        return x"],
        {"A": ["x = 1", A]},
    ),
    "a class body reads its own names": (["x = 1", "@service\nclass A:\n    x = 2\n    y = x"], {"A": [A]}),
    "a class body reads a global before it binds the name": (
        ["x = 1", "@service\nclass A:\n    x = x"],
        {"A": ["x = 1", A]},
    ),
    "match": (
        [
            "class P:\n    pass",
            "a = b = rest = 0",
            service(
                "A",
                "match self:",
                "    case P(x=a) | [a]:",
                "        return a",
                "    case [a, *b]:",
                "        return a, b",
                "    case {'k': _, **rest}:",
                "        return rest",
            ),
        ],
        {"A": ["class P", A]},
    ),
    "except and with bind": (
        ["e = f = 1", service("A", "try:", "    pass", "except OSError as e:", "    e", "with self as f:", "    f")],
        {"A": [A]},
    ),
    "nonlocal": (
        ["n = 0", service("A", "n = 1", "def g():", "    nonlocal n", "    n += 1", "return g")],
        {"A": [A]},
    ),
    "global": (["n = 0", service("A", "global n", "n += 1")], {"A": ["n = 0", A]}),
    "builtins need nothing": (["x = 1", service("A", "print(len([]), __name__, __file__)")], {"A": [A]}),
    # which binding counts
    "the last binding wins": (["x = 1", "x = 2", service("A", "return x")], {"A": ["x = 2", A]}),
    "also one that comes after the service": (["x = 1", service("A", "return x"), "x = 2"], {"A": [A, "x = 2"]}),
    "a statement that runs sees the values of its time": (
        ["x = 1", "y = x + 1", "x = 2", service("A", "return x, y")],
        {"A": ["x = 1", "y = x + 1", "x = 2", A]},
    ),
    "so does a function that it calls": (
        ["x = 1", "def f():\n    return x", "y = f()", "x = 2", service("A", "return y")],
        {"A": ["x = 1", "def f", "y = f()", "x = 2", A]},
    ),
    "a function wrapped under its own name": (
        ["def f():\n    pass", "f = print(f)", service("A", "f()")],
        {"A": ["def f", "f = print(f)", A]},
    ),
    "augmented assignment": (["x = 1", "x += 1", service("A", "return x")], {"A": ["x = 1", "x += 1", A]}),
    "an item set": (["d = {}", "d['a'] = 1", service("A", "return d")], {"A": ["d = {}", "d['a'] = 1", A]}),
    "an attribute set on an import": (
        ["import os", "os.environ['K'] = 'v'", service("A", "return os")],
        {"A": ["import os", "os.environ['K'] = 'v'", A]},
    ),
    "bare calls are not taken": (
        ["xs = []", "xs.append(1)\nprint(xs)", service("A", "return xs")],
        {"A": ["xs = []", A]},
    ),
    "a cell run again after those that use it": (
        ["y = f()", "def f():\n    return 1", service("A", "return y")],
        {"A": ["def f", "y = f()", A]},
    ),
    "if keeps what it may not replace": (
        ["n = 1", "if len('a'):\n    n = 2", service("A", "return n")],
        {"A": ["n = 1", "if len('a'):", A]},
    ),
    "if with both branches": (
        ["n = 1", "if len('a'):\n    n = 2\nelse:\n    n = 3", service("A", "return n")],
        {"A": ["if len('a'):", A]},
    ),
    "try imports are kept whole": (
        ["try:\n    import fast\nexcept ImportError:\n    fast = None", service("A", "return fast")],
        {"A": ["try:", A]},
    ),
    "for and with are kept whole": (
        [
            "t = {}\nfor k in 'ab':\n    t[k] = k",
            "with memoryview(b'x') as v:\n    n = v[0]",
            service("A", "return t, n"),
        ],
        {"A": ["t = {}", "for k in 'ab':", "with memoryview(b'x') as v:", A]},
    ),
    "a loop's variable does not bring another loop": (
        ["for i in 'ab':\n    p = i", "for i in 'ab':\n    q = i", service("A", "return q")],
        {"A": ["for i in 'ab':", A]},
    ),
    "unpacking": (["a, (b, *c) = 1, (2, 3)", service("A", "return c")], {"A": ["a, (b, *c) = (1, (2, 3))", A]}),
    "several statements on a line": (["a = 1; b = 2; c = 3", service("A", "return b")], {"A": ["b = 2", A]}),
    # imports
    "one name of an import": (["import json, re", service("A", "json")], {"A": ["import json", A]}),
    "one name of a from-import": (
        ["from os import path, sep as s", service("A", "s")],
        {"A": ["from os import sep as s", A]},
    ),
    "dotted imports come together": (
        ["import xml.dom\nimport xml.sax", service("A", "xml.dom")],
        {"A": ["import xml.dom", "import xml.sax", A]},
    ),
    "an import said twice is taken once": (
        ["import json", "import json\nd = json.dumps({})", service("A", "d, json")],
        {"A": ["import json", "d = json.dumps({})", A]},
    ),
    "a star import that binds the name": (
        ["from math import *", "from string import *", service("A", "pi")],
        {"A": ["from math import *", A]},
    ),
    "an unknown star import is the last resort": (
        ["from nowhere_at_all import *", service("A", "thing")],
        {"A": ["from nowhere_at_all import *", A]},
    ),
    # IPython
    "magic lines go, the rest stays": (
        ["%load_ext x\n!ls \\\n  -l\nx = 1\nx?\n?x", service("A", "return x")],
        {"A": ["x = 1", A]},
    ),
    "a %%dynamo_service cell is Python": (["%%dynamo_service --check\n" + service("A")], {"A": [A]}),
    "other cell magics are skipped": (["%%bash\necho x = 1", "x = 2", service("A", "return x")], {"A": ["x = 2", A]}),
    "a cell that does not parse gives nothing": (["x = (", "x = 2", service("A", "return x")], {"A": ["x = 2", A]}),
    "prompts": ([">>> x = 1\n>>> y = 2", service("A", "return y")], {"A": ["y = 2", A]}),
    "links, serve and display are not taken": (
        [service("A"), "A.link(A)\nawait serve(A)\ndisplay(A)"],
        {"A": [A]},
    ),
    # several services
    "each has its own": (
        ["import json, re", service("A", "json"), service("B", "re")],
        {"A": ["import json", A], "B": ["import re", B]},
    ),
    "what both need is shared, imports are not": (
        ["import json", "def f():\n    return json", service("A", "f(), json"), service("B", "f()")],
        {
            "A": ["from cells.shared_A_B import f", "import json", A],
            "B": ["from cells.shared_A_B import f", B],
            "shared_A_B": ["import json", "def f"],
        },
    ),
    "exactly those who need it share it": (
        ["p = 1\nq = p\nr = q", service("A", "p, q, r"), service("B", "q"), service("C", "p")],
        {
            "A": ["from cells.shared_A_B import q", "from cells.shared_A_B_C import p", "r = q", A],
            "B": ["from cells.shared_A_B import q", B],
            "C": ["from cells.shared_A_B_C import p", "class C"],
            "shared_A_B": ["from cells.shared_A_B_C import p", "q = p"],
            "shared_A_B_C": ["p = 1"],
        },
    ),
    "depends needs the interface only": (
        ["import heavy", service("B", "heavy"), "@service\nclass A:\n    b = depends(B)"],
        {"A": ["interface B", A], "B": ["import heavy", B]},
    ),
    "so do an address, a link and an annotation": (
        [
            "import heavy",
            service("B", "heavy"),
            "@service\nclass A:\n    def f(self, b: B):\n        B.link(B.dynamo_address())",
        ],
        {"A": ["interface B", A], "B": ["import heavy", B]},
    ),
    "a dependency by name needs nothing": (
        [service("B"), "@service\nclass A:\n    b = depends('B')"],
        {"A": [A], "B": [B]},
    ),
    "a subclass needs it whole": (
        ["import heavy", service("B", "heavy"), "@service\nclass A(B):\n    pass"],
        {"A": ["from cells.B import B", A], "B": ["import heavy", B]},
    ),
    "a constant of it needs it whole": (
        ["@service\nclass B:\n    N = 1", "@service\nclass A:\n    b = depends(B)\n    n = B.N"],
        {"A": ["from cells.B import B", A], "B": [B]},
    ),
    "one form for all that share a unit": (
        [
            "import heavy",
            service("B", "heavy"),
            "def f(b: B):\n    pass",
            service("A", "f(1)"),
            "@service\nclass C(B):\n    def run(self):\n        f(2)",
        ],
        {"A": ["from cells.shared_A_C import f", A], "shared_A_C": ["from cells.B import B", "def f"]},
    ),
    "services that depend on each other": (
        [
            "import a, b",
            service("A", "a").replace("def run", "@dynamo_endpoint()\n    def run"),
            "@service\nclass B:\n    a = depends(A)\n    def f(self):\n        b",
            "A.b = depends(B)",
        ],
        {"A": ["import a", A, "interface B", "A.b = depends(B)"], "B": ["import b", "interface A", B]},
    ),
    "a mixin's endpoints, without its body": (
        [
            "import heavy",
            "class M:\n    @dynamo_endpoint()\n    async def go(self):\n        heavy",
            "@service\nclass B(M):\n    pass",
            "@service\nclass A:\n    b = depends(B)",
        ],
        {"A": ["interface M", "interface B", A], "B": ["import heavy", "class M", B]},
    ),
    "aliases of the decorators": (
        [
            "from dynamo_nb import service as svc, depends as dep\nimport dynamo_nb as d, heavy",
            service("B", "heavy", decorator="@svc(workers=2)"),
            "@d.service\nclass A:\n    b = dep(B)",
        ],
        {"A": ["import dynamo_nb as d", "interface B", A], "B": ["import heavy", B]},
    ),
}


@pytest.mark.parametrize("title", TABLE)
def test_cells_to_modules(title):
    texts, expected = TABLE[title]
    cells = cells_of(SDK, *texts)
    tree = slice_services(
        cells,
        sorted(
            {name for name in expected if not name.startswith("shared")}
            | {name for name in "ABC" if any(f"class {name}" in text for text in texts)}
        ),
    )
    found = shown(tree)
    assert {name: found.get(name) for name in expected} == expected
    assert slice_services(cells, sorted(tree.targets)) == tree
    for module in tree.modules:
        compile(module.text, module.path, "exec")
