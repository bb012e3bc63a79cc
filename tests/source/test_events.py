"""Statements that have another value each time they run: workers get the kernel's value, or a note says so."""

import os

import pytest

from dynamo_nb.errors import SourceError
from dynamo_nb.source import Cell, slice_services
from tests.source.kernel_answers import worker_answer


def ran(*texts, answers=""):
    cells = [Cell(text, f"cell {n}", n) for n, text in enumerate(texts, start=1)]
    namespace = {"__name__": "__main__", "input": lambda *_: answers}
    for cell in cells:
        exec(cell.text, namespace)
    return cells, namespace


A = "class A:\n    def run(self):\n        return x"

VALUES = {
    "an id": "from uuid import uuid4\nx = uuid4().hex",
    "an id of a module under another name": "import uuid as u\nx = str(u.uuid4())",
    "the time": "import time\nx = time.time()",
    "a time as text": "from datetime import datetime\nx = datetime.now().isoformat()",
    "a date": "import datetime\nx = datetime.datetime.now().timestamp()",
    "a random number": "import random\nx = random.random()",
    "a random number imported by name": "from random import randint as r\nx = [r(0, 10**9) for _ in range(3)]",
    "a process": "import os\nx = os.getpid() + 0.5",
    "a temporary folder": "import tempfile\nx = tempfile.mkdtemp()",
    "a function of the notebook": "import uuid\ndef new():\n    return uuid.uuid4().hex\nx = new()",
    "a function that calls one": "import uuid\ndef one():\n    return uuid.uuid4().hex\ndef two():\n    return one()\nx = two()",
    "a value made of one": "import uuid\nrun = uuid.uuid4().hex\nx = f'run-{run}'",
    "several at once": "import uuid\nx, y = uuid.uuid4().hex, 3",
    "a value made anew from the last": "import time\nx = time.time()\nx = int(x * 1000) + 1",
    "an augmented one": "import time\nx = time.time()\nx += 1",
    "in a dictionary": "import uuid\nx = {'id': uuid.uuid4().hex}",
    "the hash of a text": "x = hash('text')",
    "with an annotation": "import uuid\nx: str = uuid.uuid4().hex",
    "after a seed": "import random\nrandom.seed(7)\nrandom.random()\nx = random.random()",
    "an environment variable": "import os, uuid\nos.environ['TEST_EVENTS'] = uuid.uuid4().hex\nx = os.environ['TEST_EVENTS']",
}


@pytest.mark.parametrize("title", VALUES)
def test_workers_get_the_value_of_the_kernel(title, tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_EVENTS", "")
    cells, namespace = ran(VALUES[title], A)
    tree = slice_services(cells, ["A"], live=namespace)
    assert worker_answer(tree, tmp_path) == namespace["A"]().run()
    assert title == "an environment variable" or "workers get the notebook's value of" in "".join(tree.notes)
    assert slice_services(cells, ["A"], live=namespace).digests == tree.digests


OWN = {
    "a generator without a seed": "import random\nx = random.Random()",
    "a time that is no plain value": "from datetime import datetime\nx = datetime.now()",
    "a list that is changed later": "import time\nx = [time.time()]\nx.append(1)",
    "a secret": "import secrets\nx = secrets.token_hex()",
    "an argument's default": "import uuid\ndef x(n=uuid.uuid4().hex):\n    return n",
}


@pytest.mark.parametrize("title", OWN)
def test_a_note_names_what_each_worker_makes_anew(title):
    cells, namespace = ran(OWN[title], A)
    tree = slice_services(cells, ["A"], live=namespace)
    assert any("has another value in each worker" in note for note in tree.notes)
    assert title != "a secret" or namespace["x"] not in "".join(module.text for module in tree.modules)


@pytest.mark.parametrize("title", [title for title in VALUES if title != "the hash of a text"])
def test_a_saved_notebook_has_the_note(title):
    cells = [Cell(VALUES[title], "cell 1", 1), Cell(A, "cell 2", 2)]
    assert any("has another value in each worker" in note for note in slice_services(cells, ["A"]).notes)


@pytest.mark.parametrize(
    "text",
    [
        "import random\nx = random.Random(7)",
        "import time\nx = time.sleep",
        "x = [1]",
        "import uuid\nx = lambda: uuid.uuid4()",
        "from datetime import datetime\nx = datetime(2020, 1, 1)",
        "class K:\n    def now(self):\n        return 1\nx = K().now()",
    ],
)
def test_other_values_are_made_by_the_worker(text):
    cells, namespace = ran(text, A)
    assert slice_services(cells, ["A"], live=namespace).notes == ()


ASKS = ["x = input('key: ')", "x = input().strip()", "key = input()\nx = f'Bearer {key}'", "x = {'key': input()}"]


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("text", [*ASKS, "def ask():\n    return input()\nx = ask()"])
def test_an_answer_of_a_person_is_refused_with_a_remedy(text, live):
    cells, namespace = ran(text, A, answers="hunter2")
    with pytest.raises(SourceError, match=r"answer of a person.*environment variable"):
        slice_services(cells, ["A"], live=namespace if live else None)


def test_getpass_is_refused():
    cells = [Cell("import getpass\nx = getpass.getpass()", "cell 1", 1), Cell(A, "cell 2", 2)]
    with pytest.raises(SourceError, match="answer of a person"):
        slice_services(cells, ["A"])


SECRETS = [
    "os.environ['TEST_EVENTS'] = input()",
    "key = input()\nos.environ['TEST_EVENTS'] = key",
    "os.environ.update({'TEST_EVENTS': input()})",
    "os.environ['TEST_EVENTS'] = f'k {input()}'.removeprefix('k ')",
]


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_in_an_environment_variable_is_inherited_and_not_written(text, tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_EVENTS", "")
    cells, namespace = ran(
        "import os", text, A.replace("return x", "return os.environ['TEST_EVENTS']"), answers="hunter2"
    )
    for live in (namespace, None):
        tree = slice_services(cells, ["A"], live=live)
        assert not any("hunter2" in module.text or "input" in module.text for module in tree.modules)
    assert os.environ["TEST_EVENTS"] == "hunter2"
    assert worker_answer(tree, tmp_path) == "hunter2"
