"""Forms of a call: `await`, `.result()`, and loops over streams, in cells and in scripts."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

SERVICES = """\
@service
class Backend:
    def __init__(self, suffix: str = "-back"):
        self.suffix = suffix

    @dynamo_endpoint()
    async def generate(self, text: str) -> AsyncIterator[str]:
        for word in text.split():
            yield word + self.suffix

    @dynamo_endpoint()
    async def say(self, text: str) -> str:
        return text + self.suffix
"""
GRAPH = "from dynamo_nb import Graph, attach\ngraph = Graph.of(Backend)"
ANSWERS = {
    "deployment.Backend.say('a')": "a-back",
    "deployment['Backend'].say('a')": "a-back",
    "deployment.Backend.say('a').using(timeout=20)": "a-back",
    "deployment.Backend.generate('a b')": "['a-back', 'b-back']",
    "Backend().say('a')": "a-back",
    "Backend().generate('a b')": "['a-back', 'b-back']",
    "deployment.update()": "Deployment",
    "deployment.follow()": "False",
    "deployment.scale(Backend=1)": "Deployment",
    "deployment.restart('Backend')": "Deployment",
    "deployment.metrics()": "dict",
    "deployment.trace(deployment.Backend.say('a'))": "Trace",
    "deployment.detach()": "Deployment",
    "attach(deployment.id)": "Deployment",
}
FORMS = ["await {}", "({}).result()"]
SHORT = "\ndef short(v): return str(v) if isinstance(v, str | list | bool) else type(v).__name__\n"
STREAMS = ["deployment.Backend.generate('a b')", "Backend().generate('a b')"]
LOOPS = ["[word async for word in {}]", "[word for word in {}]", "list({})"]


@pytest.fixture(scope="module")
def served(shared_kernel):
    kernel = shared_kernel.load()
    for cell in (SERVICES, SHORT, GRAPH, "deployment = await serve(graph, http_port=0)"):
        ran = kernel.run(cell)
        assert ran.ok, ran.error
    yield kernel
    assert kernel.run("deployment.stop().result()").ok


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("call", "answer"), ANSWERS.items())
def test_a_call_in_a_cell(served, call, answer, form):
    ran = served.run(f"print(short({form.format(call)}))")
    assert (ran.text, ran.error) == (f"{answer}\n", "")


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("stream", STREAMS)
def test_a_stream_in_a_cell(served, stream, loop):
    ran = served.run(f"print({loop.format(stream)})")
    assert (ran.text, ran.error) == ("['a-back', 'b-back']\n", "")


def test_a_loop_that_ended_early_can_start_again(served):
    ran = served.run(
        "for _ in range(3):\n    for word in deployment.Backend.generate('a b'):\n        break\nprint(word)"
    )
    assert (ran.text, ran.error) == ("a-back\n", "")


@pytest.mark.parametrize("form", FORMS)
def test_serve_and_stop_in_a_cell(served, form):
    for begin in ("serve(Backend, http_port=0)", "serve(graph, http_port=0)"):
        ran = served.run(
            f"other = {form.format(begin)}\nprint(other.ended)\n{form.format('other.stop()')}\nprint(other.ended)"
        )
        first, _, rest = ran.text.partition("\n")
        assert "keeps running" in first
        assert (rest, ran.error) == ("False\nTrue\n", "")


def test_a_graph_whose_links_have_changed_is_not_served(served):
    cells = (
        "@service\nclass Front:\n    a = depends(Backend)\n    b = depends(Other)",
        "Front.link(Other)",
    )
    assert served.run("@service\nclass Other: pass").ok
    assert all(served.run(cell).ok for cell in cells[:1])
    assert served.run("stale = Graph.of(Front)").ok
    assert served.run(cells[1]).ok
    ran = served.run("await serve(stale)")
    assert "have changed since this graph was made" in ran.error


SCRIPT = (
    """\
import asyncio
from collections.abc import AsyncIterator
from dynamo_nb import Graph, attach, dynamo_endpoint, serve, service

"""
    + SERVICES
    + SHORT
    + """
deployment = None

async def with_a_loop():
    global deployment
    deployment = await serve(Graph.of(Backend), http_port=0, kernels=False)
    {awaited}
    await deployment.stop()

def without_a_loop():
    global deployment
    deployment = serve(Graph.of(Backend), http_port=0, kernels=False).result()
    {results}
    deployment.stop().result()

if __name__ == "__main__":
    asyncio.run(with_a_loop())
    without_a_loop()
    try:
        import IPython
    except ModuleNotFoundError:
        print("absent")
"""
)
FORBIDDEN = ["IPython", "ipykernel", "ipywidgets", "anywidget", "jupyter_client", "traitlets", "zmq"]
WITHOUT_JUPYTER = f"""\
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {FORBIDDEN}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""


def lines_of(forms, loops):
    calls = [f"print(short({form.format(call)}))" for form in forms for call in ANSWERS]
    return "\n    ".join([*calls, *(f"print({loop.format(stream)})" for loop in loops for stream in STREAMS)])


def test_a_script_without_jupyter_installed(dynamo_home, tmp_path, monkeypatch):
    """The processes of the supervisor and the workers cannot import Jupyter either."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_JUPYTER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    awaited, results = lines_of(FORMS[:1], LOOPS[:1]), lines_of(FORMS[1:], LOOPS[1:])
    (tmp_path / "script.py").write_text(SCRIPT.replace("{awaited}", awaited).replace("{results}", results))
    done = subprocess.run(
        [sys.executable, "-W", "error", "script.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    streams = ["['a-back', 'b-back']"]
    assert done.stderr == ""
    assert done.stdout.splitlines() == [*ANSWERS.values(), *streams * 2, *ANSWERS.values(), *streams * 4, "absent"]
