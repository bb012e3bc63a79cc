"""`%dynamo trace`."""

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


def test_a_cell_can_await_a_trace_and_look_into_it(served):
    assert served.run('trace = await deployment.trace(deployment.Frontend.generate("a b"))').ok
    assert served.run("print(trace.value, len(trace.spans))").text.strip() == "['a', 'b'] 4"


def test_a_cell_without_await_can_trace(served):
    ran = served.run('print(deployment.trace(deployment.Frontend.generate("a")).result().value)')
    assert ran.text.strip() == "['a']"


def test_an_error_of_the_call_is_in_its_waterfall(served):
    ran = served.run("%dynamo trace Frontend.generate --payload '\"fail\"'")
    assert ran.ok, ran.error
    (shown,) = ran.shown
    assert "✗ ValueError: I cannot say this" in shown["text/plain"]


def test_a_target_that_is_not_there_is_told(served):
    ran = served.run("%dynamo trace Frontend.generat")
    assert not ran.ok
    assert "did you mean 'generate'" in ran.error
