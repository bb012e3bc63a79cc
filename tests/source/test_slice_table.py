"""`cells -> modules`, as one table. A module is shown as the heads of its statements, in order."""

import ast
import re
import sys

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
    # names that a statement uses
    "statements that no service uses are left out": (["x = 1", service("A")], {"A": [A]}),
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
    "strings in Literal are not names": (
        ["from typing import Literal", "fast = 1", "@service\nclass A:\n    m: Literal['fast']"],
        {"A": ["from typing import Literal", A]},
    ),
    "strings in Annotated are not names": (
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
    "builtins are not taken from cells": (["x = 1", service("A", "print(len([]), __name__, __file__)")], {"A": [A]}),
    # the binding that counts
    "the last binding counts": (["x = 1", "x = 2", service("A", "return x")], {"A": ["x = 2", A]}),
    "a binding after the service counts too": (["x = 1", service("A", "return x"), "x = 2"], {"A": [A, "x = 2"]}),
    "a statement sees the values at its time": (
        ["x = 1", "y = x + 1", "x = 2", service("A", "return x, y")],
        {"A": ["x = 1", "y = x + 1", "x = 2", A]},
    ),
    "a function that it calls sees them too": (
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
    "calls that change a needed object, and not those that use it": (
        ["xs = []", "xs.append(1)\nprint(xs)", service("A", "return xs")],
        {"A": ["xs = []", "xs.append(1)", A]},
    ),
    "a cell that ran again after the cells that use it": (
        ["y = f()", "def f():\n    return 1", service("A", "return y")],
        {"A": ["def f", "y = f()", A]},
    ),
    "an if may keep the earlier value": (
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
    "a loop's variable does not add another loop": (
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
    "dotted imports of one package are taken together": (
        ["import xml.dom\nimport xml.sax", service("A", "xml.dom")],
        {"A": ["import xml.dom", "import xml.sax", A]},
    ),
    "a repeated import is taken once": (
        ["import json", "import json\nd = json.dumps({})", service("A", "d, json")],
        {"A": ["import json", "d = json.dumps({})", A]},
    ),
    "a star import that binds the name": (
        ["from math import *", "from string import *", service("A", "pi")],
        {"A": ["from math import *", A]},
    ),
    "a star import of an unknown module is tried last": (
        ["from nowhere_at_all import *", service("A", "thing")],
        {"A": ["from nowhere_at_all import *", A]},
    ),
    # IPython
    "magic lines are removed and other lines stay": (
        ["%load_ext x\n!ls \\\n  -l\nx = 1\nx?\n?x", service("A", "return x")],
        {"A": ["x = 1", A]},
    ),
    "a %%dynamo_service cell is Python": (["%%dynamo_service --check\n" + service("A")], {"A": [A]}),
    "cells with other magics are skipped": (
        ["%%bash\necho x = 1", "x = 2", service("A", "return x")],
        {"A": ["x = 2", A]},
    ),
    "a cell with a syntax error is skipped": (["x = (", "x = 2", service("A", "return x")], {"A": ["x = 2", A]}),
    "prompts": ([">>> x = 1\n>>> y = 2", service("A", "return y")], {"A": ["y = 2", A]}),
    "links, serve and display are left out": (
        [service("A"), "A.link(A)\nawait serve(A)\ndisplay(A)"],
        {"A": [A]},
    ),
    # several services
    "each service has a module": (
        ["import json, re", service("A", "json"), service("B", "re")],
        {"A": ["import json", A], "B": ["import re", B]},
    ),
    "common code is shared, imports are repeated": (
        ["import json", "def f():\n    return json", service("A", "f(), json"), service("B", "f()")],
        {
            "A": ["from cells.shared_A_B import f", "import json", A],
            "B": ["from cells.shared_A_B import f", B],
            "shared_A_B": ["import json", "def f"],
        },
    ),
    "code is shared by exactly the services that need it": (
        ["p = 1\nq = p\nr = q", service("A", "p, q, r"), service("B", "q"), service("C", "p")],
        {
            "A": ["from cells.shared_A_B import q", "from cells.shared_A_B_C import p", "r = q", A],
            "B": ["from cells.shared_A_B import q", B],
            "C": ["from cells.shared_A_B_C import p", "class C"],
            "shared_A_B": ["from cells.shared_A_B_C import p", "q = p"],
            "shared_A_B_C": ["p = 1"],
        },
    ),
    "depends needs only the interface": (
        ["import heavy", service("B", "heavy"), "@service\nclass A:\n    b = depends(B)"],
        {"A": ["interface B", A], "B": ["import heavy", B]},
    ),
    "an address, a link and an annotation need only the interface": (
        [
            "import heavy",
            service("B", "heavy"),
            "@service\nclass A:\n    def f(self, b: B):\n        B.link(B.dynamo_address())",
        ],
        {"A": ["interface B", A], "B": ["import heavy", B]},
    ),
    "a dependency by name needs only the interface": (
        ["import heavy", "@service\nclass A:\n    b = depends('B')", service("B", "heavy")],
        {"A": [A, "interface B"], "B": ["import heavy", B]},
    ),
    "a dependency by the name in the decorator": (
        ["@service\nclass A:\n    b = depends('bee')", service("B", decorator="@service(dynamo={'name': 'bee'})")],
        {"A": [A, "interface B"], "B": [B]},
    ),
    "a dependency by a name that no cell defines": (
        ["@service\nclass A:\n    b = depends('elsewhere')"],
        {"A": [A]},
    ),
    "services that depend on each other by name": (
        ["@service\nclass A:\n    b = depends('B')", "@service\nclass B:\n    a = depends('A')"],
        {"A": [A, "interface B"], "B": ["interface A", B]},
    ),
    "a subclass needs the whole class": (
        ["import heavy", service("B", "heavy"), "@service\nclass A(B):\n    pass"],
        {"A": ["from cells.B import B", A], "B": ["import heavy", B]},
    ),
    "a constant of a service needs the whole class": (
        ["@service\nclass B:\n    N = 1", "@service\nclass A:\n    b = depends(B)\n    n = B.N"],
        {"A": ["from cells.B import B", A], "B": [B]},
    ),
    "services that share a statement see the same form of a class": (
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
    # Python's syntax
    "a class attribute's comprehension sees the module, not the class": (
        ["xs = [1]\nn = 2", "@service\nclass A:\n    n = 3\n    ys = [n for _ in xs]"],
        {"A": ["xs = [1]", "n = 2", A]},
    ),
    "the first iterable of a class attribute's comprehension is the class's own": (
        ["xs = [1]", "@service\nclass A:\n    xs = [3]\n    ys = [x for x in xs]"],
        {"A": [A]},
    ),
    "a free name in a nested function": (
        [
            "x = y = 1",
            "def f(y):\n    def g():\n        def h():\n            return x, y\n        return h",
            service("A", "f(1)"),
        ],
        {"A": ["x = y = 1", "def f", A]},
    ),
    "a nested function hides a global function": (
        ["def g():\n    pass", service("A", "def g():", "    return g", "return g()")],
        {"A": [A]},
    ),
    "decorators with arguments, stacked": (
        [
            "def deco(n):\n    return lambda f: f",
            "N, M = 1, 2",
            "@deco(N)\n@deco(n := M)\ndef f():\n    pass",
            service("A", "f()"),
        ],
        {"A": ["def deco", "N, M = (1, 2)", "def f", A]},
    ),
    "a decorator of an endpoint": (
        [
            "def timed(f):\n    return f",
            "@service\nclass A:\n    @timed\n    @dynamo_endpoint()\n    def go(self):\n        pass",
        ],
        {"A": ["def timed", A]},
    ),
    "a lambda's default": (
        ["k = 2", "f = lambda x, k=k: x", service("A", "f(1)")],
        {"A": ["k = 2", "f = lambda x, k=k: x", A]},
    ),
    "keyword-only defaults": (["k = 2", "def f(*, j=k):\n    pass", service("A", "f()")], {"A": ["k = 2", "def f", A]}),
    "functools.partial": (
        [
            "from functools import partial",
            "def f(a, b):\n    pass",
            "B1 = 1",
            "g = partial(f, b=B1)",
            service("A", "g(1)"),
        ],
        {"A": ["from functools import partial", "def f", "B1 = 1", "g = partial(f, b=B1)", A]},
    ),
    "dataclass fields and factories": (
        [
            "from dataclasses import dataclass, field, replace",
            "def make():\n    return []",
            "@dataclass(frozen=True)\nclass D:\n    a: 'E'\n    b: list = field(default_factory=make)",
            "class E:\n    pass",
            service("A", "D(1)"),
        ],
        {"A": ["from dataclasses import dataclass, field", "def make", "class E", "class D", A]},
    ),
    "NamedTuple, TypedDict and Enum": (
        [
            "from enum import Enum, auto\nfrom typing import NamedTuple, TypedDict",
            "class Kind(Enum):\n    ONE = auto()\n    TWO = ONE",
            "class Pair(NamedTuple):\n    kind: Kind\n    n: int = 1",
            "class Row(TypedDict, total=False):\n    pair: 'Pair'",
            service("A", "row: Row = {}", "return Row()"),
        ],
        {
            "A": [
                "from enum import Enum, auto",
                "from typing import NamedTuple, TypedDict",
                "class Kind",
                "class Pair",
                "class Row",
                A,
            ]
        },
    ),
    "functional forms": (
        [
            "import collections, enum",
            "P = collections.namedtuple('P', 'x y')\nK = enum.Enum('K', 'x')",
            service("A", "P(1, 2)"),
        ],
        {"A": ["import collections", "P = collections.namedtuple('P', 'x y')", A]},
    ),
    "TypeVar, Generic and Protocol": (
        [
            "from typing import Generic, Protocol, TypeVar",
            "class Limit(Protocol):\n    def go(self) -> 'T': ...",
            "T = TypeVar('T', bound='Limit')",
            "class Holder(Generic[T]):\n    item: T",
            "class Other: pass",
            "@service\nclass A:\n    def run(self, box: 'Holder[Other]'):\n        pass",
        ],
        {
            "A": [
                "from typing import Generic, Protocol, TypeVar",
                "T = TypeVar('T', bound='Limit')",
                "class Limit",
                "class Holder",
                "class Other",
                A,
            ]
        },
    ),
    "a model's forward reference": (
        [
            "from __future__ import annotations",
            "from pydantic import BaseModel",
            "class Tree(BaseModel):\n    leaf: Leaf | None\n    trees: list[Tree]",
            "class Leaf(BaseModel):\n    n: int",
            "@service\nclass A:\n    def run(self, tree: Tree):\n        pass",
        ],
        {"A": ["from __future__ import annotations", "from pydantic import BaseModel", "class Leaf", "class Tree", A]},
    ),
    "a class and a function in their own annotations": (
        [
            "class R:\n    def f(self, r: 'R') -> list['R']:\n        pass",
            "def g(x: 'g'):\n    pass",
            "@service\nclass A:\n    def run(self) -> 'A':\n        R(), g",
        ],
        {"A": ["class R", "def g", A]},
    ),
    "a string annotation changes no order": (
        ["class Leaf:\n    tree: 'Tree'", "class Tree(Leaf):\n    pass", service("A", "Leaf()")],
        {"A": ["class Leaf", "class Tree", A]},
    ),
    "if TYPE_CHECKING": (
        [
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from decimal import Decimal",
            "@service\nclass A:\n    def run(self, n: 'Decimal'):\n        pass",
        ],
        {"A": ["from typing import TYPE_CHECKING", "if TYPE_CHECKING:", A]},
    ),
    "a type comment is ignored": (
        [
            "class R:\n    pass",
            "def f(x):\n    # type: (R) -> R\n    y = x  # type: R\n    return y",
            service("A", "f(1)"),
        ],
        {"A": ["def f", A]},
    ),
    "a conditional import with else": (
        [
            "import sys",
            "if sys.version_info > (3, 99):\n    import new as j\nelse:\n    import json as j",
            service("A", "j"),
        ],
        {"A": ["import sys", "if sys.version_info > (3, 99):", A]},
    ),
    "an import in a function is local": (
        ["import json", service("A", "import json", "return json")],
        {"A": [A]},
    ),
    "a try with several names of which one is needed": (
        [
            "try:\n    from fast import a, b\nexcept (ImportError, OSError) as why:\n    a, b = None, str(why)\nelse:\n    c = 1\nfinally:\n    d = 1",
            service("A", "return b"),
        ],
        {"A": ["try:", A]},
    ),
    "a try may keep the earlier value": (
        ["c = 0", "try:\n    import fast\nexcept ImportError:\n    c = 1", service("A", "return c")],
        {"A": ["c = 0", "try:", A]},
    ),
    "global in a helper includes the global's definition": (
        ["n = 0", "def up():\n    global n\n    n = 1", service("A", "up()", "return n")],
        {"A": ["n = 0", "def up", A]},
    ),
    "global without any other binding": (
        ["def up():\n    global n\n    n = 1", service("A", "up()", "return n")],
        {"A": ["def up", A]},
    ),
    "del of another name is left out": (
        ["x = y = 1", "del y", service("A", "return x")],
        {"A": ["x = y = 1", A]},
    ),
    "a name bound again after del": (["x = 1", "del x\nx = 2", service("A", "return x")], {"A": ["x = 2", A]}),
    "starred targets and calls": (
        ["xs = [1, 2]\nkw = {}", "first, *rest = xs", service("A", "print(*rest, **kw)")],
        {"A": ["xs = [1, 2]\nkw = {}".splitlines()[0], "kw = {}", "first, *rest = xs", A]},
    ),
    "chained assignment": (["a = b = c = []", service("A", "return b")], {"A": ["a = b = c = []", A]}),
    "an annotated constant, and an annotation alone": (
        ["class T:\n    pass", "limit: T = 3\nlater: T", service("A", "return limit")],
        {"A": ["class T", "limit: T = 3", A]},
    ),
    "subscripts and slices as targets": (
        ["xs = [0] * 3\nat = 1", "xs[at] = 5\nxs[at:] = []", service("A", "return xs")],
        {"A": ["xs = [0] * 3", "at = 1", "xs[at] = 5", "xs[at:] = []", A]},
    ),
    "an attribute set on a function": (
        ["def f():\n    pass", "f.limit = 3", service("A", "return f.limit")],
        {"A": ["def f", "f.limit = 3", A]},
    ),
    "a method put on a class afterwards": (
        ["class R:\n    pass", "def go(self):\n    pass", "R.go = go", service("A", "R().go()")],
        {"A": ["class R", "def go", "R.go = go", A]},
    ),
    "an async comprehension": (
        [
            "async def each():\n    yield 1",
            "@service\nclass A:\n    async def run(self):\n        return [x async for x in each()]",
        ],
        {"A": ["async def each".replace("async ", ""), A]},
    ),
    "nested f-strings": (
        ["name, width = 'x', 3", service("A", "return f'{f\"{name!r}\":>{width}}'")],
        {"A": ["name, width = ('x', 3)", A]},
    ),
    "overloads are taken together": (
        [
            "from typing import overload\n@overload\ndef f(x: int) -> int: ...\n@overload\ndef f(x: str) -> str: ...\ndef f(x):\n    return x",
            service("A", "f(1)"),
        ],
        {"A": ["def f", A]},
    ),
    "singledispatch registers": (
        [
            "from functools import singledispatch\n@singledispatch\ndef show(x):\n    return x",
            "@show.register\ndef show_int(x: int):\n    return -x",
            service("A", "show_int(1)"),
        ],
        {"A": ["from functools import singledispatch", "def show", "def show_int", A]},
    ),
    "property setters": (
        [
            "LOW = 0",
            "@service\nclass A:\n    @property\n    def n(self):\n        return 1\n    @n.setter\n    def n(self, to):\n        self._n = max(to, LOW)",
        ],
        {"A": ["LOW = 0", A]},
    ),
    "__all__ is an ordinary name": (
        ["__all__ = ['A']\nx = 1", service("A", "return x")],
        {"A": ["x = 1", A]},
    ),
    "__slots__, super and __class__": (
        [
            "NAMES = ('a',)",
            "class P:\n    __slots__ = NAMES\n    def __init__(self):\n        super().__init__()\n        __class__",
            "@service\nclass A(P):\n    pass",
        ],
        {"A": ["NAMES = ('a',)", "class P", A]},
    ),
    "a conditional expression and a lambda in it": (
        [
            "fast = True",
            "def f():\n    pass",
            "g = f if fast else (lambda: h())",
            "def h():\n    pass",
            service("A", "g()"),
        ],
        {"A": ["fast = True", "def f", "g = f if fast else lambda: h()", "def h", A]},
    ),
    "a while loop's else": (
        ["n = 3\nwhile n > 0:\n    n -= 1\nelse:\n    done = n", service("A", "return done")],
        {"A": ["n = 3", "while n > 0:", A]},
    ),
    "a function that calls itself, and two that call each other": (
        [
            "def even(n):\n    return n == 0 or odd(n - 1)",
            "def odd(n):\n    return n and even(n - 1)",
            service("A", "even(2)"),
        ],
        {"A": ["def even", "def odd", A]},
    ),
    "a name that hides a builtin": (
        ["def print(*words):\n    pass", service("A", "print(1)")],
        {"A": ["def print", A]},
    ),
    "alias of an alias": (
        ["from os import path as p", "q = p", "from json import dumps as q2, loads", service("A", "q, q2")],
        {"A": ["from os import path as p", "q = p", "from json import dumps as q2", A]},
    ),
    "a star import under a name of its own cell": (
        ["from math import *\npi = 3", service("A", "pi, tau")],
        {"A": ["from math import *", "pi = 3", A]},
    ),
    "a form feed does not end a line": (
        ["x = 'a\x0cb'\n\x0c\ndef f():\n    return x", service("A", "f()")],
        {"A": ["x = 'a\\x0cb'", "def f", A]},
    ),
    "carriage returns": (["x = 1\r\n\r\ny = x\r\n", service("A", "return y")], {"A": ["x = 1", "y = x", A]}),
    "a multi-line string keeps its lines": (
        ["text = '''\n%not a magic\n!nor this\n?\n'''", service("A", "return text")],
        {"A": ["text = '\\n%not a magic\\n!nor this\\n?\\n'", A]},
    ),
    # IPython
    "IPython lines inside a function and a class": (
        ["def f():\n    %time\n    !ls\n    return 1", "x = 1", service("A", "return x")],
        {"A": ["x = 1", A]},
    ),
    "%pip and !pip in a needed cell": (
        ["%pip install x\n!pip install y\nimport json\n%matplotlib inline\n%env A=b", service("A", "json")],
        {"A": ["import json", A]},
    ),
    "an unused result of a shell command": (
        ["files = !ls\nn = %time 1\nx = 1", service("A", "return x")],
        {"A": ["x = 1", A]},
    ),
    "help in all its forms": (
        ["x = 1\nx?\n?x\nx??\n??x\n*x*?\n/print x\n,print x", service("A", "return x")],
        {"A": ["x = 1", A]},
    ),
    "cells of other languages and captured ones": (
        [
            "%%bash\nfor i in a b; do echo $i; done",
            "%%capture out\nx = 1",
            "%%writefile f.py\nx = 3",
            "x = 2",
            service("A", "return x"),
        ],
        {"A": ["x = 2", A]},
    ),
    "a #| dynamo_service cell is ordinary Python": (
        ["#| dynamo_service --workers 2\n" + service("A")],
        {"A": [A]},
    ),
    "other #| comments are ignored": (["#| export\nx = 1", service("A", "return x")], {"A": ["x = 1", A]}),
    "an empty cell, a blank one and a comment": (
        ["", "\n  \n", "# nothing", "x = 1", service("A", "return x")],
        {"A": ["x = 1", A]},
    ),
    "an indented cell": (["    x = 1\n    y = x", service("A", "return y")], {"A": ["x = 1", "y = x", A]}),
    # services
    "a name of three services is shared once": (
        ["import json", "def f():\n    return json", *(service(name, "f()") for name in "ABC")],
        {
            "A": ["from cells.shared_A_B_C import f", A],
            "B": ["from cells.shared_A_B_C import f", B],
            "C": ["from cells.shared_A_B_C import f", "class C"],
            "shared_A_B_C": ["import json", "def f"],
        },
    ),
    "a service as a default argument needs the whole class": (
        ["import heavy", service("B", "heavy"), "@service\nclass A:\n    def run(self, b=B):\n        pass"],
        {"A": ["from cells.B import B", A], "B": ["import heavy", B]},
    ),
    "a service that is instantiated in another needs the whole class": (
        ["import heavy", service("B", "heavy"), service("A", "return B()")],
        {"A": ["from cells.B import B", A], "B": ["import heavy", B]},
    ),
    "depends in a base class": (
        [
            "import heavy",
            service("B", "heavy"),
            "class Base:\n    b = depends(B)",
            "@service\nclass A(Base):\n    pass",
        ],
        {"A": ["interface B", "class Base", A], "B": ["import heavy", B]},
    ),
    "a dependency on an interface from another cell": (
        [
            "from dynamo_nb import DynamoService, abstract_endpoint",
            "class Model(DynamoService):\n    @abstract_endpoint\n    async def go(self): ...",
            "@service\nclass B(Model):\n    @dynamo_endpoint()\n    async def go(self):\n        pass",
            "@service\nclass A:\n    b = depends(Model)",
        ],
        {"A": ["from cells.shared_A_B import Model", A], "shared_A_B": ["class Model"]},
    ),
    "an endpoint's model is shared with the caller": (
        [
            "from pydantic import BaseModel\nimport heavy",
            "class R(BaseModel):\n    n: int",
            "@service\nclass B:\n    @dynamo_endpoint()\n    async def go(self, r: R):\n        heavy",
            "@service\nclass A:\n    b = depends(B)",
        ],
        {
            "A": ["from cells.shared_A_B import R", "interface B", A],
            "B": ["from cells.shared_A_B import R", "import heavy", B],
            "shared_A_B": ["from pydantic import BaseModel", "class R"],
        },
    ),
    "an endpoint's default is part of the interface": (
        [
            "import heavy\nLIMIT = 3",
            "@service\nclass B:\n    @dynamo_endpoint()\n    async def go(self, n=LIMIT):\n        heavy",
            "@service\nclass A:\n    b = depends(B)",
        ],
        {"A": ["from cells.shared_A_B import LIMIT", "interface B", A], "shared_A_B": ["LIMIT = 3"]},
    ),
    "a service defined again": (
        ["x = 1\ny = 2", service("A", "return x"), service("A", "return y")],
        {"A": ["y = 2", A]},
    ),
}

NEW_SYNTAX = {
    "type parameters and aliases": (
        12,
        [
            "class K:\n    pass",
            "type Pair[T: K] = tuple[T, T]",
            "def f[T](x: T) -> Pair[T]:\n    return x",
            "T = 1",
            service("A", "f(1)"),
        ],
        {"A": ["class K", "type Pair[T: K] = tuple[T, T]", "def f", A]},
    ),
    "a generic class": (
        12,
        [
            "class K:\n    pass",
            "class Box[T: 'K', *Ts, **P]:\n    item: T",
            "@service\nclass A:\n    def run(self, b: Box[int]):\n        pass",
        ],
        {"A": ["class K", "class Box", A]},
    ),
    "quotes of one kind in an f-string": (
        12,
        ["d = {}", service("A", 'return f"{d["a"]}"')],
        {"A": ["d = {}", A]},
    ),
    "a type parameter's default": (
        13,
        ["class K:\n    pass", "class Box[T = K]:\n    item: T", service("A", "Box()")],
        {"A": ["class K", "class Box", A]},
    ),
}
TABLE |= {title: case for title, (minor, *case) in NEW_SYNTAX.items() if sys.version_info >= (3, minor)}


@pytest.mark.parametrize("title", TABLE)
def test_cells_to_modules(title):
    texts, expected = TABLE[title]
    cells = cells_of(SDK, *texts)
    tree = slice_services(
        cells,
        sorted(
            {name for name in expected if not name.startswith("shared")}
            | {name for name in "ABC" if any(re.search(rf"class {name}\b", text) for text in texts)}
        ),
    )
    found = shown(tree)
    assert {name: found.get(name) for name in expected} == expected
    assert slice_services(cells, sorted(tree.targets)) == tree
    for module in tree.modules:
        compile(module.text, module.path, "exec")
        assert "get_ipython" not in module.text
