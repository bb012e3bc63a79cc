"""Traces of calls: `%dynamo trace` and `deployment.trace`."""

import pytest

pytestmark = pytest.mark.slow

SERVICES = """\
from dynamo_nb import trace_note

@service
class Backend:
    @dynamo_endpoint()
    async def generate(self, text: str):
        trace_note(chosen="best")
        for word in text.split():
            yield word

@service
class Frontend:
    backend = depends(Backend)

    @dynamo_endpoint()
    async def generate(self, text: str):
        if text == "fail":
            raise ValueError("I cannot say this")
        async for word in self.backend.generate(text):
            yield word
"""


@pytest.fixture(scope="module")
def served(shared_kernel):
    kernel = shared_kernel.load()
    assert kernel.run(SERVICES).ok
    served = kernel.run("deployment = await serve(Frontend, http_port=0)")
    assert served.ok, served.error
    return kernel


def test_the_verb_shows_a_waterfall(served):
    ran = served.run("""%dynamo trace frontend.generate --payload '{"text": "hello world"}'""")
    assert ran.ok, ran.error
    (shown,) = ran.shown
    assert "Frontend.generate took" in shown["text/plain"]
    assert "└─ Backend.generate" in shown["text/plain"]
    assert "chosen=best" in shown["text/plain"]
    assert 'class="dynamo-trace"' in shown["image/svg+xml"]


def test_a_cell_awaits_a_trace_and_reads_it(served):
    assert served.run('trace = await deployment.trace(deployment.Frontend.generate("a b"))').ok
    assert served.run("print(trace.value, len(trace.spans))").text.strip() == "['a', 'b'] 4"


def test_a_cell_traces_without_await(served):
    ran = served.run('print(deployment.trace(deployment.Frontend.generate("a")).result().value)')
    assert ran.text.strip() == "['a']"


def test_the_waterfall_shows_the_error_of_a_call(served):
    ran = served.run("%dynamo trace Frontend.generate --payload '\"fail\"'")
    assert ran.ok, ran.error
    (shown,) = ran.shown
    assert "✗ ValueError: I cannot say this" in shown["text/plain"]


def test_an_unknown_endpoint_is_an_error(served):
    ran = served.run("%dynamo trace Frontend.generat")
    assert not ran.ok
    assert "did you mean 'generate'" in ran.error
