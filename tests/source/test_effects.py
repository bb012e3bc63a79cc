"""Statements that change an object which a service needs: in the worker the object is as in the notebook."""

import pytest

from dynamo_nb.source import Cell, CellBook, slice_services
from tests.source.kernel_answers import both_answers

APP = """\
class App:
    def __init__(self):
        self.routes, self.guards, self.router = [], [], self
    def get(self, path):
        def keep(function):
            self.routes.append((path, function.__name__))
            return function
        return keep
    def include_router(self, other):
        self.routes += other.routes
    def add_middleware(self, kind):
        self.guards.append(kind.__name__)
    def middleware(self, function):
        self.guards.append(function.__name__)
        return function
class Guard:
    pass
"""


def cells_of(*texts):
    return [Cell(text, f"cell {number}", number) for number, text in enumerate(texts, start=1)]


def user(value, *, before=""):
    return f"{before}class A:\n    def run(self):\n        return {value}"


ROUTES = user("sorted(app.routes), app.guards")
ADD = "def add(a, b):\n    return a + b"

COUNT = """\
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
        self.n += 1
        return self.n
count = Count()"""

CHANGES = {
    "a decorator of an application": [APP, "app = App()", "@app.get('/v')\ndef v():\n    pass", ROUTES],
    "all in one cell": [f"{APP}\napp = App()\n@app.get('/v')\ndef v():\n    pass\n{ROUTES}"],
    "a decorator after the class that uses the object": [APP, "app = App()", ROUTES, "@app.get('/v')\ndef v(): pass"],
    "a decorator without a call": [APP, "app = App()", "@app.middleware\ndef check():\n    pass", ROUTES],
    "a router that is included": [
        APP,
        "app, router = App(), App()",
        "@router.get('/r')\ndef r():\n    pass",
        "app.include_router(router)",
        ROUTES,
    ],
    "middleware": [APP, "app = App()", "app.add_middleware(Guard)", ROUTES],
    "middleware in a loop": [APP, "app = App()", "for kind in [Guard, App]:\n    app.add_middleware(kind)", ROUTES],
    "objects changed through the variable of a loop": [
        APP,
        "a, b = App(), App()",
        "for one in (a, b):\n    one.guards = ['x']",
        user("a.guards, b.guards"),
    ],
    "a condition": [APP, "app = App()", "if len('x'):\n    app.add_middleware(Guard)", ROUTES],
    "an attribute of the object under a name": [
        APP,
        "app = App()\nr = app.router",
        "r.add_middleware(Guard)",
        ROUTES,
    ],
    "the object changed, an attribute of it used": [
        APP,
        "app = App()\nguards = app.guards",
        "app.add_middleware(Guard)",
        user("guards"),
    ],
    "a bound method as a decorator": [
        "tools = []\n",
        APP,
        "app = App()\nroute = app.get",
        "@route('/x')\ndef x(): pass",
        ROUTES,
    ],
    "a decorator of the notebook that fills a registry": [
        "tools = {}",
        "def tool(f):\n    tools[f.__name__] = f\n    return f",
        f"@tool\n{ADD}",
        user("sorted(tools)"),
    ],
    "a decorator with arguments that fills a registry": [
        "tools = {}",
        "def tool(name):\n    def keep(f):\n        tools[name] = f\n        return f\n    return keep",
        f"@tool('plus')\n{ADD}",
        user("sorted(tools)"),
    ],
    "a decorator called by hand": [
        "tools = {}",
        "def tool(name):\n    def keep(f):\n        tools[name] = f\n        return f\n    return keep",
        f"{ADD}\ntool('plus')(add)",
        user("sorted(tools)"),
    ],
    "a decorated class": [
        "kinds = []\ndef kind(c):\n    kinds.append(c.__name__)\n    return c",
        "@kind\nclass K:\n    pass",
        user("kinds"),
    ],
    "a subclass that registers itself": [
        "kinds = []\nclass Base:\n    def __init_subclass__(cls):\n        kinds.append(cls.__name__)",
        "class K(Base):\n    pass",
        user("kinds"),
    ],
    "a class made by a metaclass that registers it": [
        "kinds = []\nclass Meta(type):\n    def __init__(cls, *rest):\n        kinds.append(cls.__name__)",
        "class K(metaclass=Meta):\n    pass",
        user("kinds"),
    ],
    "a function of the notebook that changes its argument": [
        "xs = {}\ndef register(registry, f):\n    registry[f.__name__] = f",
        f"{ADD}\nregister(xs, add)",
        user("sorted(xs)"),
    ],
    "a function that calls the one which changes it": [
        "xs = []\ndef put(x):\n    xs.append(x)\ndef put_two(x):\n    put(x), put(x)",
        "put_two(3)",
        user("xs"),
    ],
    "an object that registers itself when it is made": [
        "xs = []\nclass Tool:\n    def __init__(self, name):\n        xs.append(name)",
        "t = Tool('a')\nTool('b')",
        user("xs"),
    ],
    "single dispatch": [
        "from functools import singledispatch\n@singledispatch\ndef show(x):\n    return 'any'",
        "@show.register\ndef _(x: int):\n    return 'int'",
        user("show(1)"),
    ],
    "setattr of an object": [APP, "app = App()", "setattr(app, 'guards', ['x'])", ROUTES],
    "setattr of a class": [APP, "setattr(App, 'extra', 3)", user("App.extra")],
    "an attribute of a base class": ["class Base: pass\nclass K(Base): pass", "Base.x = 3", user("K().x")],
    "an item deleted": ["d = {'a': 1, 'b': 2}", "del d['a']", user("d")],
    "an augmented item": ["d = {'a': 1}", "d['a'] += 1", user("d")],
    "an augmented list under a second name": ["xs = [1]\nys = xs", "xs += [2]", user("ys")],
    "a container kept by another": ["inner = []\nouter = {'in': inner}", "inner.append(1)", user("outer")],
    "a container in an object": [
        "class Box:\n    def __init__(self, x): self.x = x",
        "xs = []\nbox = Box(xs)",
        "xs.append(1)",
        user("box.x"),
    ],
    "a container changed through an object that keeps it": [
        "class Box:\n    def __init__(self, x): self.x = x\n    def add(self, y): self.x.append(y)",
        "xs = []\nbox = Box(xs)",
        "box.add(1)",
        user("xs"),
    ],
    "a function called between two changes": [
        "xs = []\ndef put(x):\n    xs.append(x)",
        "n = 1",
        "put(n)\nn = xs.pop()",
        "n = n + 1",
        "put(n)\nn = xs.pop()",
        user("n"),
    ],
    "two names that are swapped": ["xs, ys = [], []\nzs = ys", "ys, xs = xs, ys", "xs.append(1)", user("zs")],
    "a default argument": ["xs = []\ndef f(a=xs):\n    return a", "xs.append(1)", user("f()")],
    "a value taken out": ["xs = [1, 2]", "last = xs.pop()", user("xs")],
    "an imported function that changes its argument": [
        "import heapq\nheap = []",
        "heapq.heappush(heap, 3)\nheapq.heappush(heap, 1)",
        user("heap"),
    ],
    "a with block": [
        "from contextlib import nullcontext\nxs = []",
        "with nullcontext(xs) as ys:\n    ys.append(1)",
        user("xs"),
    ],
    "random numbers with a seed": ["import random\nrandom.seed(7)", user("random.random()")],
    "a seed for a function imported by name": [
        "from random import random as draw",
        "import random\nrandom.seed(7)",
        user("draw()"),
    ],
    "a module imported again after it was changed": [
        "import random",
        "random.seed(7)",
        "import random",
        user("random.random()"),
    ],
    "logging": [
        "import logging\nlogging.getLogger('effects').setLevel(logging.ERROR)",
        "import logging as log",
        user("log.getLogger('effects').level"),
    ],
    "environment variables for code that does not import os": [
        "import os\nos.environ.update({'TEST_EFFECTS_EFFECT': '1'})\nos.environ['TEST_EFFECTS_ITEM'] = '2'",
        user("[__import__('os').environ[f'TEST_EFFECTS_{n}'] for n in ('EFFECT', 'ITEM')]"),
    ],
    "a warnings filter": ["import warnings\nwarnings.filterwarnings('ignore', 'effects')", user("1")],
    "an assertion": ["xs = []\ndef put(x):\n    xs.append(x)", "assert put(1) is None", user("xs")],
    "an argument by its name": ["xs = []\ndef put(*, into):\n    into.append(1)", "put(into=xs)", user("xs")],
    "arguments of any number": [
        """\
xs, ys = [], []
def put(*all, **named):
    for one in all:
        one.append(1)
    named['to'].append(2)""",
        "put(xs, to=ys)",
        user("xs, ys"),
    ],
    "a starred argument": ["xs = []\ndef put(a, b):\n    b.append(a)", "put(*(1, xs))", user("xs")],
    "an object under a name inside the function": [
        "xs = []\ndef put(to):\n    there = to\n    there.append(1)",
        "put(xs)",
        user("xs"),
    ],
    "a lambda": ["xs = []", "(lambda to: to.append(1))(xs)", user("xs")],
    "a lambda under a name": ["xs = []\nput = lambda to: to.append(1)", "n = put(xs)", user("xs")],
    "a function that is handed over": ["xs = []\ndef put(x):\n    xs.append(x)", "n = list(map(put, [1]))", user("xs")],
    "a method that is handed over": ["xs = []", "n = list(map(xs.append, [1]))", user("xs")],
    "a partial function": ["from functools import partial\nxs = []\nput = partial(xs.append)", "put(1)", user("xs")],
    "a method of the notebook whose value is used": [
        "class Pool:\n    def __init__(self): self.free = [1, 2]\n    def take(self): return self.free.pop()",
        "pool = Pool()",
        "first = pool.take()",
        user("pool.free"),
    ],
    "a method of the notebook whose name says that it uses": [
        "class Job:\n    done = 0\n    def run(self): self.done += 1\n    def check(self): self.run()",
        "job = Job()",
        "job.run()\njob.check()",
        user("job.done"),
    ],
    "an inherited method": [
        "class Base:\n    def __init__(self): self.n = 0\n    def step(self): self.n += 1\nclass Job(Base): pass",
        "job = Job()",
        "m = job.step()",
        user("job.n"),
    ],
    "an object that is called": [
        "class Counter:\n    n = 0\n    def __call__(self):\n        self.n += 1\n        return self.n",
        "count = Counter()\nm = count()",
        user("count.n"),
    ],
    "a function with state of its own": [
        "def counter():\n    n = 0\n    def count():\n        nonlocal n\n        n += 1\n        return n\n    return count",
        "count = counter()\nm = count()",
        user("count()"),
    ],
    "a default that a function fills": [
        "def f(seen=[]):\n    seen.append(1)\n    return len(seen)",
        "m = f()",
        user("f()"),
    ],
    "a block of an object of the notebook": [
        """\
class Log:
    def __init__(self): self.n = 0
    def __enter__(self): self.n += 1
    def __exit__(self, *_): self.n += 1""",
        "log = Log()",
        "with log:\n    pass",
        user("log.n"),
    ],
    "a list that all objects of a class share": [
        "class Tool:\n    all = []\n    def __init__(self, name): self.all.append(name)",
        "Tool('a')\nb = Tool('b')",
        user("Tool.all"),
    ],
    "a class that its objects change": [
        "class Tool:\n    n = 0\n    def __init__(self): type(self).n += 1",
        "Tool()\nb = Tool()",
        user("Tool.n"),
    ],
    "the class of an object": [
        "class Box: n = 0\nbox = Box()",
        "type(box).n = 1\nbox.__class__.m = 2",
        user("Box.n, Box.m"),
    ],
    "the attributes of an object as a mapping": [
        "class Box: pass\nbox = Box()",
        "vars(box)['n'] = 1\nbox.__dict__.update(m=2)",
        user("box.n, box.m"),
    ],
    "an object in a pair": ["class Box: n = 0\nbox = Box()", "pair = (1, box)\npair[1].n = 2", user("box.n")],
    "an object in a mapping": ["xs = []\nd = {'xs': xs}", "d['xs'].append(1)", user("xs")],
    "a list under a second name, changed in place before": ["xs = []\nys = xs", "ys *= 2", "ys.append(1)", user("xs")],
    "a default value of a mapping": ["xs, d = [], {}", "d.get('a', xs).append(1)", user("xs")],
    "a default value under a name": ["xs, d = [], {}", "ys = d.get('a', xs)", "ys.append(1)", user("xs")],
    "a value that a function returns": ["xs = []\ndef same(x): return x", "ys = same(xs)", "ys.append(1)", user("xs")],
    "a class made by a call": [
        "kinds = []\nclass Base:\n    def __init_subclass__(cls): kinds.append(cls.__name__)",
        "Sub = type('Sub', (Base,), {})",
        user("kinds"),
    ],
    "code in a text": ["n = 1", "exec('n = 2')", user("n")],
    "a name that is set by its text": ["n, m = 1, 2", "globals()['n'] = 3\nglobals().update(m=4)", user("n, m")],
    "an item of what a function returns": ["R = {}\ndef get():\n    return R", "get()['a'] = 1", user("R")],
    "an item of an object in a tuple": ["R = {}\nT = (R,)", "T[0]['a'] = 1", user("R")],
    "an item of an object in a dict": ["R = []\nT = {'r': R}", "T['r'].append(1)", user("R")],
    "a lambda, once more": ["xs = []\nadd = lambda x: xs.append(x)", "add(3)", user("xs")],
    "a method that is handed over, once more": ["xs = []", "list(map(xs.append, [1, 2]))", user("xs")],
    "a method with another name": ["xs = []\nadd = xs.append", "add(3)", user("xs")],
    "a partial function, once more": [
        "from functools import partial\nxs = []\nadd = partial(xs.append, 4)",
        "add()",
        user("xs"),
    ],
    "a context manager": [
        (
            "class P:\n    def __init__(self):\n        self.d = []\n    def __enter__(self):\n        self.d.append(1)\n"
            "    def __exit__(self, *_):\n        self.d.append(2)\np = P()"
        ),
        "with p:\n    pass",
        user("p.d"),
    ],
    "text that is written": ["import io\nf = io.StringIO()", "f.write('hi')", user("f.getvalue()")],
    "text that is printed": ["import io\nf = io.StringIO()", "print('hi', file=f)", user("f.getvalue()")],
    "a method of a built-in class": ["d = {}", "dict.update(d, a=1)", user("d")],
    "an attribute set by object": ["class K: pass\nk = K()", "object.__setattr__(k, 'z', 1)", user("vars(k)")],
    "an item of vars": ["class K: pass\nk = K()", "vars(k)['z'] = 1", user("vars(k)")],
    "an inherited metaclass": [
        (
            "R = []\nclass M(type):\n    def __init__(cls, *rest):\n        R.append(cls.__name__)\n"
            "        super().__init__(*rest)\nclass B(metaclass=M): pass"
        ),
        "class C(B): pass",
        user("R"),
    ],
    "a metaclass that makes the class": [
        (
            "R = []\nclass M(type):\n    def __new__(meta, name, *rest):\n        R.append(name)\n"
            "        return super().__new__(meta, name, *rest)"
        ),
        "class C(metaclass=M): pass",
        user("R"),
    ],
    "a descriptor that learns its name": [
        "R = []\nclass D:\n    def __set_name__(self, owner, name):\n        R.append(name)",
        "class T:\n    x = D()",
        user("R"),
    ],
    "an inherited hook of a subclass": [
        "R = []\nclass B:\n    def __init_subclass__(cls):\n        R.append(cls.__name__)\nclass C(B): pass",
        "class D(C): pass",
        user("R"),
    ],
    "a method that changes a global": [
        "R = []\nclass P:\n    def run(self):\n        R.append(1)\np = P()",
        "p.run()",
        user("R"),
    ],
    "a method by a name that only uses": [
        "class P:\n    def __init__(self):\n        self.d = {}\n    def check(self, k):\n        self.d[k] = 1\np = P()",
        "p.check('a')",
        user("p.d"),
    ],
    "an inherited method, once more": [
        "class O:\n    def start(self):\n        self.on = True\nclass P(O):\n    on = False\np = P()",
        "p.start()",
        user("p.on"),
    ],
    "a defaultdict that is read": [
        "from collections import defaultdict\nd = defaultdict(list)",
        "d['a']",
        user("dict(d)"),
    ],
    "an augmented global of a function": ["n = 0\ndef inc():\n    global n\n    n += 1", "inc()\ninc()", user("n")],
    "two names in one assignment": ["ys = zs = []", "zs.append(1)", user("ys")],
    "a second and a third name": ["xs = []", "zs = ys = xs", "zs.append(1)", user("xs")],
    "the variable of a loop after it": ["xs = []", "for x in [xs]:\n    pass", "x.append(1)", user("xs")],
    "the variable of a block after it": [
        "from contextlib import nullcontext\nxs = []",
        "with nullcontext(xs) as ys:\n    pass",
        "ys.append(1)",
        user("xs"),
    ],
    "a name that is assigned in an expression": ["xs = []", "print(ys := xs)", "ys.append(1)", user("xs")],
    "an object in a list that a comprehension makes": [
        "xs = []",
        "q = [x for x in (xs,)]",
        "q[0].append(1)",
        user("xs"),
    ],
    "an object in a mapping that a call makes": ["xs = []", "q = dict(a=xs)", "q['a'].append(1)", user("xs")],
    "an object that is put into a list": ["xs, q = [], []", "q.append(xs)", "q[0].append(1)", user("xs")],
    "an object that is put into a list of a list": [
        "xs, q, r = [], [], []",
        "q.append(xs)\nr.insert(0, q)",
        "r[0][0].append(1)",
        user("xs"),
    ],
    "objects that are changed in a loop over what keeps them": [
        "class Box: n = 0\na, q = Box(), []",
        "q.append(a)",
        "for one in q:\n    one.n = 1",
        user("a.n"),
    ],
    "a change by code in a text": ["xs = []", "exec('xs.append(1)')\nn = eval('xs.append(2)')", user("xs")],
    "a property": [COUNT, "m = count.next", user("count.n")],
    "an operator": [COUNT, "m = count[2]", user("count.n")],
    "a built-in function that calls a special method": [COUNT, "if len(count):\n    pass", user("count.n")],
    "an iterator": [
        "steps = iter(range(9))",
        "for n in steps:\n    break",
        "n = list(zip([1, 2], steps))",
        user("next(steps)"),
    ],
    "a generator": [
        "def count():\n    n = 0\n    while True:\n        n += 1\n        yield n\nsteps = count()",
        "for n in steps:\n    break",
        user("next(steps)"),
    ],
    "a defaultdict that is read in an expression": [
        "from collections import defaultdict\nd, e = defaultdict(list), 1",
        "print(len(d['a']))",
        user("dict(d)"),
    ],
    "an object made anew after its change": ["xs = []", "xs.append(1)", "xs = []", user("xs")],
    "a value read before a change": ["xs = [1]\nn = len(xs)", "xs.append(2)", user("n, xs")],
}


@pytest.mark.parametrize("title", CHANGES)
def test_the_object_is_the_same_in_the_worker(title, tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_EFFECTS_EFFECT", "")
    monkeypatch.setenv("TEST_EFFECTS_ITEM", "")
    kernel, worker, notes = both_answers(cells_of(*CHANGES[title]), tmp_path)
    assert worker == kernel, notes


USES = {
    "print": "print(app)",
    "the last value of a cell": "app",
    "display": "from IPython.display import display\ndisplay(app)",
    "a plot": "import matplotlib.pyplot as plt\nplt.plot(app)\nplt.show()",
    "an assertion": "assert app.guards == []",
    "a request to test it": "import requests\nrequests.post('http://x', json=app)",
    "a run for development": "app.run()",
    "a main block": "if __name__ == '__main__':\n    app.add_middleware(Guard)",
    "a value of it": "schema = app.openapi()",
    "a function of the notebook that reads it": "def look(a):\n    return len(a.routes)\nlook(app)",
    "another object that it is put into": "others = []\nothers.append(app)",
    "an awaited call": "await app.astart()",
    "a magic": "%matplotlib inline\n!ls",
    "a deployment": "from dynamo_nb import serve\ndeployment = await serve(A)\nserve(A)",
    "a link": "A.link(App)",
}


@pytest.mark.parametrize("title", USES)
def test_a_use_of_the_object_stays_in_the_notebook(title):
    cells = cells_of(APP, "app = App()", "from dynamo_nb import service", f"@service\n{ROUTES}", USES[title])
    before, after = slice_services(cells[:-1], ["A"]), slice_services(cells, ["A"])
    assert after.modules == before.modules
    assert after.digests == before.digests
    assert bool(after.notes) == (title in ("an awaited call", "a run for development"))


STATE = {
    "the context of decimals": ("import decimal", "decimal.setcontext(decimal.Context(prec=4))"),
    "the depth of recursion": ("import sys", "sys.setrecursionlimit(2222)"),
    "how json writes": ("import json", "json.JSONEncoder.default = lambda self, value: str(value)"),
    "the time zone": ("import os, time", "time.tzset()"),
    "the mask of new files": ("import os", "os.umask(63)"),
    "a handler of encoding errors": ("import codecs", "codecs.register_error('q', None)"),
    "a reducer": ("import copyreg", "copyreg.pickle(slice, None)"),
    "a handler of a signal": ("import signal", "signal.signal(signal.SIGUSR1, signal.SIG_IGN)"),
    "errors of numpy": ("import numpy as np", "np.seterr(all='ignore')"),
    "threads of torch": ("import torch", "torch.set_num_threads(1)"),
    "the timeout of sockets": ("import socket", "socket.setdefaulttimeout(3)"),
}


@pytest.mark.parametrize("title", STATE)
def test_the_state_of_the_process_is_set_in_the_worker(title):
    imports, change = STATE[title]
    name = imports.split()[-1].rstrip(",")
    tree = slice_services(cells_of(imports, change, user(f"'{title}', {name}")), ["A"])
    assert any(change in module.text for module in tree.modules)
    assert not tree.notes


@pytest.mark.parametrize("call", ["np.mean([1])", "np.fft.fft([1])"])
def test_a_call_on_a_module_that_workers_do_not_run_is_noted(call):
    tree = slice_services(cells_of("import numpy as np", call, user("np")), ["A"])
    assert not any(call in module.text for module in tree.modules)
    assert [note for note in tree.notes if note.startswith("cell 2, line 1: ")]


@pytest.mark.parametrize("verb", ["run", "check", "start", "stop", "read", "run_once"])
def test_a_call_that_seems_to_be_a_use_is_noted(verb):
    cells = cells_of("from somewhere import make", "engine = make()", f"engine.{verb}()", user("engine.state"))
    (note,) = slice_services(cells, ["A"]).notes
    assert note.startswith(f"cell 3, line 1: `engine.{verb}()` may change engine in the notebook only")


@pytest.mark.parametrize("verb", ["print", "describe", "is_ready", "get_state", "info"])
def test_a_call_that_is_a_use_is_not_noted(verb):
    cells = cells_of("from somewhere import make", "engine = make()", f"engine.{verb}()", user("engine.state"))
    assert slice_services(cells, ["A"]).notes == ()


@pytest.mark.parametrize(
    "code",
    [
        "exec(text)",
        "globals()[text] = 1",
        "globals().update(found)",
        "globals().update({'n': 2})",
        "if n:\n    exec(text)",
    ],
)
def test_a_call_that_may_set_any_name_is_noted(code):
    cells = cells_of("n, text, found = 1, 'n = 2', {'n': 2}", code, user("n"))
    (note,) = slice_services(cells, ["A"]).notes
    assert "may set any name, in the notebook only" in note


@pytest.mark.parametrize(
    "again",
    [
        "class K(Base):\n    pass",
        "class K(metaclass=Meta):\n    pass",
        "K = type('K', (Base,), {})",
        "@count\nclass K:\n    pass",
        "def f(x=put(1)):\n    pass",
    ],
)
def test_a_definition_that_changes_something_counts_each_time_that_it_runs(again):
    """The kernel has the effect of each run; the workers have that of the last one, with a note."""
    head = """\
kinds = []
def put(x):
    kinds.append(x)
def count(cls):
    put(cls)
    return cls
class Base:
    def __init_subclass__(cls): put(1)
class Meta(type):
    def __init__(cls, *rest): put(1)"""
    book = CellBook()
    for number, (cell_id, text) in enumerate([("a", head), ("b", again), ("b", again), ("c", user("len(kinds)"))], 1):
        book.record(Cell(text, f"cell {number}", number, cell_id))
    assert any("which still has earlier runs" in note for note in slice_services(book.cells, ["A"]).notes)


def test_a_call_of_what_an_earlier_run_defined_is_noted():
    """The call runs before the definition runs again: the workers have another function there."""
    book = CellBook()
    define = "def put(x):\n    ys.append(x)"
    runs = ["xs, ys = [], []\nput = xs.append", define, "put(1)", define, user("ys")]
    for number, text in enumerate(runs, 1):
        book.record(Cell(text, f"cell {number}", number, text))
    (note,) = slice_services(book.cells, ["A"]).notes
    assert note.startswith("cell 3, line 1: `put(1)` has another effect in the notebook")


@pytest.mark.parametrize(
    "change", ["app.add_middleware(Guard)", "@app.get('/v')\ndef v():\n    pass", "del app.guards"]
)
def test_a_digest_changes_with_the_effects(change):
    cells = cells_of(APP, "app = App()", ROUTES, change)
    assert slice_services(cells[:-1], ["A"]).digests != slice_services(cells, ["A"]).digests


@pytest.mark.parametrize(
    "change",
    [
        "os.environ['CUDA_VISIBLE_DEVICES'] = '0'",
        "os.environ.update({'DYNAMO_SERVICE_CONFIG': '{}'})",
        "os.environ.setdefault('NVIDIA_VISIBLE_DEVICES', 'all')",
        "del os.environ['DYNAMO_NAMESPACE']",
    ],
)
def test_variables_that_a_deployment_sets_in_its_workers_stay(change):
    cells = cells_of("import os", change, user("os.environ"), user("1").replace("class A", "class B"))
    assert not any("VISIBLE" in one.text or "DYNAMO" in one.text for one in slice_services(cells, ["A", "B"]).modules)


def test_services_share_an_object_and_its_changes():
    tree = slice_services(
        cells_of(APP, "app = App()", "app.add_middleware(Guard)", ROUTES, ROUTES.replace("class A", "class B")),
        ["A", "B"],
    )
    texts = {module.name: module.text for module in tree.modules}
    assert "app.add_middleware(Guard)" in texts["cells.shared_A_B"]
    assert "from cells.shared_A_B import app" in texts["cells.B"]


FASTAPI = "from dynamo_nb import service\nfrom fastapi import Depends, FastAPI, APIRouter\napp = FastAPI()"
PROTECTION = {
    "a route": "@app.get('/version')\ndef version():\n    return 1",
    "a router": "router = APIRouter()\napp.include_router(router)",
    "middleware by a decorator": "@app.middleware('http')\nasync def check(request, call_next):\n    pass",
    "middleware by its class": "from starlette.middleware.gzip import GZipMiddleware\napp.add_middleware(GZipMiddleware)",
    "a handler of errors": "@app.exception_handler(ValueError)\nasync def refuse(request, error):\n    pass",
    "an override of a dependency": "app.dependency_overrides[Depends] = Depends",
    "dependencies of the application": "app.router.dependencies.append(Depends(len))",
    "a library that protects it": "from guards import protect\nprotect(app, key='k')",
    "an object that protects it": "from guards import Guard\nGuard(key='k').init_app(app)",
}


@pytest.mark.parametrize("after", [False, True], ids=["before the service", "after the service"])
@pytest.mark.parametrize("title", PROTECTION)
def test_what_protects_an_endpoint_is_where_it_is_served(title, after):
    cells = [PROTECTION[title], "@service(app=app)\nclass Shop:\n    pass"]
    tree = slice_services(cells_of(FASTAPI, *(reversed(cells) if after else cells)), ["Shop"])
    text = next(module.text for module in tree.modules if module.name == "cells.Shop")
    assert PROTECTION[title].splitlines()[-1] in text
