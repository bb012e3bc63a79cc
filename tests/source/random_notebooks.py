"""Random small notebooks: cells in random order, run again, edited. Run as a script for many of them.

python -m tests.source.random_notebooks --number 5000

Each notebook runs in a kernel. Its service then runs as `serve()` makes it of the live notebook, as `dynamo serve` makes
it of the saved file, and from the bundle of both. The answers are equal, or a note says that they may differ.
"""

import argparse
import importlib
import io
import json
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from dynamo_nb.bundle import export
from dynamo_nb.deployment.plan import Plan
from dynamo_nb.deployment.plan_source import FixedProgram
from dynamo_nb.deployment.serve_options import ServeOptions
from dynamo_nb.deployment.start import start
from dynamo_nb.errors import SourceError, TargetError
from dynamo_nb.program import find
from dynamo_nb.program.live import live
from dynamo_nb.sdk.portal import Pending, on_portal
from dynamo_nb.source import Cell, CellBook

PRELUDE = """\
from collections import defaultdict
from contextlib import nullcontext
import random
from dynamo_nb import dynamo_endpoint, service
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
T = (ys, d)
class Count:
    n = 0
    @property
    def next(self):
        self.n += 1
        return self.n
    def __getitem__(self, at):
        self.n += at
        return self.n
    def __len__(self):
        self.n += 5
        return self.n
count, steps, dd = Count(), iter(range(99)), defaultdict(list)"""

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
    "d.get('xs', ys).append(n)", "box.add(xs)", "other = type(box)(xs)", "(lambda q: q.append(n))(xs)", "ys = (xs, ys)[0]",
    "ys = xs or ys", "ys = xs if n else ys", "pair = [xs, ys]\npair[0].append(n)", "pair = (box, xs)\npair[0].n = m",
    "[xs.append(i) for i in range(2)]", "xs, *rest = [ys, n, m]", "list(map(ys.append, [n]))", "put = xs.append",
    "def f(seen=[]):\n    seen.append(n)\n    return len(seen)", "def keep(x):\n    return x\nys = keep(xs)",
    "from functools import partial\nput = partial(ys.append)", "Base.kinds = []", "Sub = type('Sub', (Base,), {})",
    "globals()['n'] = 5", "exec('n = 7')", "vars(box)['n'] = m", "box.__dict__.update(n=n)", "m = (n := 5)",
    "def outer():\n    xs.append(n)\n    return n\nm = outer()", "for xs in ([1], [2]):\n    pass", "d |= {'z': n}",
    "try:\n    1 / 0\nexcept ZeroDivisionError:\n    n = 9", "match n:\n    case 1:\n        m = 1\n    case _:\n        m = 2",
    "kinds = Base.kinds\nkinds.append('x')", "setattr(Base, 'size', n)", "Box.shared = m", "type(box).shared = n",
    "assert put(n) is None", "steps = iter(range(9))\nn = next(steps)", "xs.extend(ys)", "ys.insert(0, n)", "ys *= 2",
    "def deep():\n    def inner():\n        global m\n        m = n\n    inner()\ndeep()", "del xs[:1]", "print(f())",
    "class Loud(Box):\n    def add(self, item):\n        ys.append(item)\n        super().add(item)\nbox = Loud(xs)",
    "def note(*args):\n    for one in args:\n        one.append(n)\nnote(xs, ys)", "xs.__setitem__(slice(0, 0), [n])",
    "def keyed(*, into):\n    into.append(n)\nkeyed(into=xs)",
    "class Ctx:\n    def __enter__(self): xs.append(n)\n    def __exit__(self, *_): ys.append(m)\nwith Ctx():\n    n = 3", "n += len(xs) and xs.pop()",
    "ys = zs = []\nzs.append(n)", "zs = ys = xs\nzs.append(n)", "for q in [ys]:\n    pass\nq.append(n)",
    "with nullcontext(xs) as w:\n    pass\nw.append(n)", "(q := xs).append(n)\nq.append(m)",
    "q = [x for x in (xs, ys)]\nq[0].append(n)", "q = dict(a=xs)\nq['a'].append(n)", "q = []\nq.append(xs)\nq[0].append(n)",
    "for q in [box, other]:\n    pass\nq.n = 3", "exec('xs.append(3)')", "n = eval('xs.pop() if xs else 0')",
    "for n in steps:\n    break", "n = count.next", "m = count[2]", "n = len(count)", "count = Count()", "print(count.next)",
    "m = len(dd['a'])", "dd['b']", "dd['c'].append(n)", "m = sum(1 for one in zip(range(2), steps))",
    "vars(box)['v'] = n", "add = xs.append", "add = lambda v: ys.append(v)", "add(n)", "T = (xs, d)", "T[0].append(n)",
    "dict.update(d, k=n)", "def add(v):\n    d['v'] = v", "def get():\n    return box", "get().items.append(n)",
    "get().v = n", "def bump():\n    global n\n    n += 1", "xs[:1] = [n]", "try:\n    d['a'].append(1)\nexcept KeyError:\n    d['a'] = [n]",
]  # fmt: skip
NAMES = [
    "n",
    "m",
    "xs",
    "ys",
    "d",
    "box",
    "other",
    "f()",
    "Base.kinds",
    "getattr(Base, 'size', 0)",
    "getattr(Box, 'shared', 0)",
]

SERVICE = """\
@service
class A:
    def shown(self):
        return repr(({},))
    @dynamo_endpoint()
    async def run(self) -> str:
        return self.shown()"""


@st.composite
def notebooks(draw):
    """The cells of a notebook by id, the runs as (id, text), and the names that the service shows."""
    texts = draw(st.lists(st.lists(st.sampled_from(STATEMENTS), min_size=1, max_size=2), min_size=1, max_size=6))
    cells = {f"c{number}": "\n".join(text) for number, text in enumerate(texts)}
    shown = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
    service = SERVICE.format(", ".join(shown))
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
        answer = namespace["A"]().shown()
        namespace["random"].setstate(state)
    except Exception:
        return None
    return namespace | before, answer


def worker(tree):
    """The answer of the service's class, imported as a worker does."""
    module, _, name = tree.targets["A"].partition(":")
    with TemporaryDirectory() as folder:
        tree.write(Path(folder, "code"))
        sys.path.insert(0, f"{folder}/code")
        importlib.invalidate_caches()
        try:
            return getattr(importlib.import_module(module), name)().shown()
        except Exception as error:
            return repr(error)
        finally:
            sys.path.remove(f"{folder}/code")
            for name in [name for name in sys.modules if name.partition(".")[0] == "cells"]:
                del sys.modules[name]


@contextmanager
def live_program(runs):
    """The program of a live notebook after these runs of its cells, and its kernel's answer."""
    if (ran := kernel([text for _, text in runs])) is None:
        yield None
        return
    namespace, answer = ran
    book = CellBook()
    for number, (name, text) in enumerate(runs, start=1):
        book.record(Cell(text, f"cell {number}", number, name))
    yield (lambda: live(namespace["A"], namespace, book.cells)), answer


@contextmanager
def saved_program(texts):
    """The program of a saved notebook, and the answer after a run from top to bottom."""
    if (ran := kernel(texts)) is None:
        yield None
        return
    cells = [{"cell_type": "code", "id": f"c{n}", "source": text} for n, text in enumerate(texts)]
    with TemporaryDirectory() as folder:
        Path(folder, "n.ipynb").write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "cells": cells}))
        yield (lambda: find("n.ipynb:A", Path(folder))), ran[1]


KINDS = {"live": live_program, "saved": saved_program}
NOTES = {
    "earlier runs": "which still has earlier runs of its cells",
    "unclear": "so it runs in workers too",
    "left out": "in the notebook only: workers do not",
    "any name": "may set any name, in the notebook only",
    "kernel's value": "workers get the notebook's value of",
    "event": "has another value in each worker",
}
"""The notes that are accepted where the answers differ, by a part of their text."""


def outcome(kind, cells, *, bundled=False, served=False):
    """ "equal", "noted: …", "refused", "fails", or what is silently different.

    bundled: compares the code of the bundle too. served: and the workers of two deployments, of notebook and bundle.
    """
    with KINDS[kind](cells) as made, TemporaryDirectory() as folder:
        if made is None:
            return "fails"
        program, answer = made
        try:
            plan = Plan.of(program(), [])
        except (SourceError, TargetError):
            return "refused"
        answers = {kind: worker(plan.code)}
        if bundled or served:
            bundle = export(plan.spec, plan.code, Path(folder, "bundle"))
            answers[f"{kind} bundle"] = worker(find(str(bundle)).code())
        if served:
            answers[f"{kind} served"] = worker_of(plan.program)
            answers[f"{kind} bundle served"] = worker_of(find(str(bundle)))
    if set(answers.values()) == {answer}:
        return "equal"
    notes = [kind for kind, text in NOTES.items() if any(text in note for note in plan.notes)]
    if notes and len(set(answers.values())) == 1:
        return f"noted: {', '.join(notes)}"
    text = "\n".join(module.text for module in plan.code.modules)
    return f"kernel: {answer}\nworkers: {answers}\nnotes: {plan.notes}\n{text}"


def worker_of(program):
    """The answer of a worker that serves the program."""
    options = ServeOptions(http_port=0, kernels=False)
    with Pending(lambda: on_portal(lambda: start(FixedProgram(found=program), options))).result(60) as deployment:
        return deployment["A"].run().result(60)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bundled", type=int, default=20, help="notebooks for one whose bundle is compared too")
    parser.add_argument("--served", type=int, default=0, help="notebooks that are also served, from the first one")
    parser.add_argument("--show", type=int, default=3, help="silent differences to print")
    options = parser.parse_args()
    counts = {kind: Counter() for kind in KINDS}
    shown = []
    sys.stdout, out = io.StringIO(), sys.stdout  # of the notebooks

    @seed(options.seed)
    @settings(
        max_examples=options.number, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(notebooks())
    def count(notebook):
        texts, runs = notebook
        for kind, cells in (("live", runs), ("saved", texts)):
            number = sum(counts[kind].values())
            result = outcome(kind, cells, bundled=number % options.bundled == 0, served=number < options.served)
            silent = result.startswith("kernel: ")
            counts[kind]["silent" if silent else result] += 1
            if silent:
                shown.append((kind, cells, result))

    count()
    print(counts, file=out)
    for kind, cells, result in sorted(shown, key=lambda one: len(str(one[1])))[: options.show]:
        print(
            f"--- {kind}",
            *(cell if isinstance(cell, str) else cell[1] for cell in cells[1:]),
            result,
            sep="\n",
            file=out,
        )


if __name__ == "__main__":
    main()
