"""Random small notebooks: cells in random order, run again, edited. Run as a script for many of them.

python -m tests.source.random_notebooks --number 5000
"""

import argparse
import importlib
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from dynamo_nb.errors import SourceError
from dynamo_nb.source import Cell, CellBook, slice_services

PRELUDE = """\
from contextlib import nullcontext
import random
class Box:
    def __init__(self, items=()):
        self.items = items if isinstance(items, list) else list(items)
    def add(self, item):
        self.items.append(item)
    def register(self, function):
        self.items.append(function.__name__)
        return function
    def __repr__(self):
        return repr(sorted(vars(self).items()))
class Base:
    kinds = []
    def __init_subclass__(cls):
        Base.kinds.append(cls.__name__)
n, m, xs, ys, d = 1, 0, [], [], {}
box, other = Box(), Box()
random.seed(0)
def f():
    return n
def put(x):
    xs.append(x)
def tool(g):
    d[g.__name__] = n
    return g
def bump():
    global m
    m += 1
def add(x):
    xs.append(x)
def get():
    return other
T = (ys, d)"""

STATEMENTS = [
    "n = 1", "n = n + 1", "n += 2", "m = n * 2", "m, n = n, m", "m = f()", "m = len(xs)", "xs = []", "xs = [n]",
    "ys = xs", "ys = list(xs)", "xs.append(n)", "xs += [n]", "ys.append(5)", "ys = d.get('xs', ys)", "xs = xs + [1]",
    "xs.sort(reverse=True)", "n = xs.pop() if xs else 0", "d = {}", "d['xs'] = xs", "d['n'] = n", "d.pop('n', 0)",
    "d.setdefault('k', []).append(n)", "box = Box()", "box = Box(xs)", "box.items.append(n)", "box.add(n)", "box.n = n",
    "box.items = ys", "setattr(box, 'm', m)", "other = box", "other = Box(ys)", "other.add(m)", "ys = box.items",
    "def f():\n    return n", "def f():\n    return len(xs)", "def f():\n    return m + len(d)",
    "def put(x):\n    ys.append(x)", "put(n)", "put(f())", "bump()", "@tool\ndef g(): return n", "tool(f)",
    "@tool\ndef k(): return m", "@box.register\ndef h(): return 1", "@other.register\ndef g(): return 2",
    "for i in range(2):\n    xs.append(i)", "for one in (box, other):\n    one.n = n",
    "with nullcontext(xs) as zs:\n    zs.append(n)", "if n > 1:\n    xs.append(n)\nelse:\n    box.n = 0",
    "while len(ys) < 3:\n    ys.append(n)", "random.seed(n)", "m = random.randint(0, 100)", "xs.append(random.random())",
    "class Sub(Base):\n    size = n", "class Low(Base):\n    pass", "Base.size = n", "print(n, xs)", "assert xs is xs",
    "len(xs)", "random.shuffle(xs)", "n = 3 if d else 4", "d.update(n=n, box=box)", "ys, xs = xs, ys",
    "vars(box)['v'] = n", "add = xs.append", "add = lambda v: ys.append(v)", "add(n)", "T = (xs, d)", "T[0].append(n)",
    "dict.update(d, k=n)", "list(map(ys.append, [n]))", "def add(v):\n    d['v'] = v", "def get():\n    return box",
    "get().items.append(n)", "get().v = n",
    "def bump():\n    global n\n    n += 1", "xs[:1] = [n]", "try:\n    d['a'].append(1)\nexcept KeyError:\n    d['a'] = [n]",
]  # fmt: skip
NAMES = ["n", "m", "xs", "ys", "d", "box", "other", "f()", "Base.kinds", "getattr(Base, 'size', 0)"]


@st.composite
def notebooks(draw):
    """The cells of a notebook by id, the runs as (id, text), and the names that the service shows."""
    texts = draw(st.lists(st.lists(st.sampled_from(STATEMENTS), min_size=1, max_size=2), min_size=1, max_size=6))
    cells = {f"c{number}": "\n".join(text) for number, text in enumerate(texts)}
    shown = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
    service = f"class A:\n    def run(self):\n        return repr(({', '.join(shown)},))"
    runs = [(name, cells[name]) for name in draw(st.permutations(list(cells)))]
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from(list(cells)))
        if draw(st.booleans()):
            cells[name] = draw(st.sampled_from(STATEMENTS))
        runs.append((name, cells[name]))
    runs.insert(draw(st.integers(0, len(runs))), ("service", service))
    return [PRELUDE, *cells.values(), service], [("prelude", PRELUDE), *runs]


def kernel(cells):
    """The namespace after a run of these cells, and the answer of the service; None if one of them fails."""
    namespace = {"__name__": "__main__"}
    try:
        for text in cells:
            exec(compile(text, "cell", "exec"), namespace)
        state = namespace["random"].getstate()
        before = {name: value for name, value in namespace.items() if type(value) in (int, list, dict, str)}
        answer = namespace["A"]().run()
        namespace["random"].setstate(state)
    except Exception:
        return None
    return namespace | before, answer


def worker(tree):
    with TemporaryDirectory() as folder:
        tree.write(Path(folder, "code"))
        sys.path.insert(0, f"{folder}/code")
        importlib.invalidate_caches()
        try:
            return importlib.import_module("cells.A").A().run()
        finally:
            sys.path.remove(f"{folder}/code")
            for name in [name for name in sys.modules if name.partition(".")[0] == "cells"]:
                del sys.modules[name]


def outcome(cells, namespace, answer):
    """ "equal", "noted", "refused", or what is silently different."""
    try:
        tree = slice_services(cells, ["A"], live=namespace)
    except SourceError:
        return "refused"
    try:
        found = worker(tree)
    except Exception as error:
        found = repr(error)
    if found == answer:
        return "equal"
    notes = [note for note in tree.notes if "set it before" not in note]
    text = "\n".join(module.text for module in tree.modules)
    return "noted" if notes else f"kernel: {answer}\nworker: {found}\nnotes: {tree.notes}\n{text}"


def live_outcome(runs):
    """How the worker of a live notebook differs from its kernel."""
    ran = kernel([text for _, text in runs])
    if ran is None:
        return "fails"
    book = CellBook()
    for number, (name, text) in enumerate(runs, start=1):
        book.record(Cell(text, f"cell {number}", number, name))
    return outcome(book.cells, *ran)


def saved_outcome(texts):
    """How the worker of a saved notebook differs from a run from top to bottom."""
    ran = kernel(texts)
    if ran is None:
        return "fails"
    return outcome([Cell(text, f"cell {n}", n, f"c{n}") for n, text in enumerate(texts, start=1)], None, ran[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=3, help="silent differences to print")
    options = parser.parse_args()
    counts = {"live": Counter(), "saved": Counter()}
    shown = []

    @seed(options.seed)
    @settings(
        max_examples=options.number, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(notebooks())
    def count(notebook):
        texts, runs = notebook
        for kind, result in (("live", live_outcome(runs)), ("saved", saved_outcome(texts))):
            silent = result.startswith("kernel: ")
            counts[kind]["silent" if silent else result] += 1
            if silent:
                shown.append((kind, runs if kind == "live" else texts, result))

    count()
    print(counts)
    for kind, cells, result in sorted(shown, key=lambda one: len(str(one[1])))[: options.show]:
        print(f"--- {kind}", *(cell if isinstance(cell, str) else cell[1] for cell in cells[1:]), result, sep="\n")


if __name__ == "__main__":
    main()
