"""The errors of services: every kind of endpoint that fails, in `deployment.errors`, in the log and in `dynamo errors`."""

import asyncio
import json

import httpx
import pytest
from deployed_program import until

from dynamo_nb.cli.main import run
from dynamo_nb.cli.terminal_host import TerminalHost
from dynamo_nb.errors import DeploymentError, DynamoError, InvalidArgument
from dynamo_nb.sdk.portal import portal

pytestmark = pytest.mark.slow

FAILING = """
import asyncio

import fastapi

from dynamo_nb import depends, dynamo_api, dynamo_endpoint, service
from dynamo_nb.errors import InvalidArgument
from dynamo_nb.sdk.endpoint import DynamoTransport

app = fastapi.FastAPI()


@app.get("/own/{number}")
async def own(number: int):
    if number == 404 or number == 503:
        raise fastapi.HTTPException(number, "not today")
    raise RuntimeError("in a route of the application")


@service(workers=2)
class Backend:
    @dynamo_endpoint()
    async def ask(self, text: str) -> str:
        raise ValueError(f"no answer to {text}")  # ask

    @dynamo_endpoint()
    async def stream(self, text: str):
        yield text
        raise KeyError("in the stream")  # stream

    @dynamo_endpoint()
    async def reject(self, text: str) -> str:
        raise InvalidArgument("too long")

    @dynamo_endpoint()
    async def slow(self, text: str) -> str:
        await asyncio.sleep(1000)

    @dynamo_endpoint()
    async def works(self) -> str:
        return "yes"


@service(app=app)
class Frontend:
    backend = depends(Backend)

    @dynamo_endpoint()
    async def forward(self, text: str) -> str:
        return await self.backend.ask(text)

    @dynamo_endpoint()
    async def wrong(self) -> str:
        return await self.backend.ask(1, 2, 3)

    @dynamo_endpoint()
    async def impatient(self) -> str:
        return await self.backend.slow("x").using(timeout=0.1)  # impatient

    @dynamo_endpoint(transports=[DynamoTransport.HTTP])
    async def route(self, text: str) -> str:
        raise RuntimeError("in the route")  # route

    @dynamo_api
    async def api(self, text: str) -> str:
        return await self.backend.ask(text)

    @dynamo_api
    async def refuse(self, status: int) -> str:
        raise fastapi.HTTPException(status, "not today")

    @dynamo_api
    async def items(self, text: str):
        yield text
        raise KeyError("in the items")  # items
"""


@pytest.fixture(scope="module")
def deployment(module_project):
    module_project.write("failing.py", FAILING)
    with module_project.serve("failing:Frontend").result() as deployment:
        yield deployment


def line_of(mark):
    number = next(i for i, line in enumerate(FAILING.splitlines(), 1) if line.endswith(mark))
    return f"failing.py:{number}"


def fails(call):
    with pytest.raises(DynamoError):
        call.result()


def errors(deployment, service, endpoint, count):
    """The errors of an endpoint, once they were counted this often."""

    def found():
        known = [e for e in deployment.errors(service).result() if e.endpoint == endpoint]
        return known if sum(e.count for e in known) >= count else None

    return until(found)


def post(deployment, path, **body):
    return httpx.post(f"{deployment.urls['Frontend']}/{path}", json=body)


def test_an_endpoint_that_fails_shows_its_exception_with_count_line_and_traceback(deployment):
    for i in range(20):
        fails(deployment.Backend.ask(f"question {i}"))
    (error,) = errors(deployment, "Backend", "ask", 20)
    assert (error.service, error.kind, error.count) == ("Backend", "ValueError", 20)
    assert error.message.startswith("no answer to question ")
    assert error.line == line_of("# ask")
    assert "raise ValueError" in error.traceback
    assert error.first <= error.last


def test_a_stream_that_fails_in_the_middle_is_an_error(deployment):
    fails(deployment.Backend.stream("x"))
    (error,) = errors(deployment, "Backend", "stream", 1)
    assert (error.kind, error.line) == ("KeyError", line_of("# stream"))


def test_an_http_route_that_fails_is_an_error(deployment):
    for _ in range(3):
        assert post(deployment, "route", text="x").status_code == 500
    (error,) = errors(deployment, "Frontend", "route", 3)
    assert (error.kind, error.message, error.line) == ("RuntimeError", "in the route", line_of("# route"))
    assert error.traceback.count("File ") == 1


def test_an_http_stream_that_fails_in_the_middle_is_an_error(deployment):
    with pytest.raises(httpx.RemoteProtocolError):
        post(deployment, "items", text="x")
    (error,) = errors(deployment, "Frontend", "items", 1)
    assert (error.kind, error.line) == ("KeyError", line_of("# items"))


def test_a_route_of_the_users_own_application_that_fails_is_an_error(deployment):
    for i in range(3):
        assert httpx.get(f"{deployment.urls['Frontend']}/own/{i}").status_code == 500
    for status in (404, 503):
        assert httpx.get(f"{deployment.urls['Frontend']}/own/{status}").status_code == status
    found = errors(deployment, "Frontend", "GET /own/{number}", 4)
    assert sorted((error.kind, error.message, error.count) for error in found) == [
        ("HTTP 503", "the answer has the status 503", 1),
        ("RuntimeError", "in a route of the application", 3),
    ]


@pytest.mark.parametrize("endpoint", ["forward", "api"])
def test_an_error_of_a_called_service_belongs_to_it_and_is_counted_at_the_caller(deployment, endpoint):
    if endpoint == "api":
        assert post(deployment, "api", text="deep").status_code == 500
    else:
        fails(deployment.Frontend.forward("deep"))
    (error,) = errors(deployment, "Frontend", endpoint, 1)
    assert (error.kind, error.message, error.raised_by) == ("ValueError", "no answer to deep", "Backend.ask")
    assert error.traceback == ""
    assert any("deep" in e.message for e in errors(deployment, "Backend", "ask", 1))


def test_a_service_that_calls_another_wrongly_is_at_fault(deployment):
    with pytest.raises(InvalidArgument):
        deployment.Frontend.wrong().result()
    (error,) = errors(deployment, "Frontend", "wrong", 1)
    assert error.kind == "InvalidArgument"
    assert "self.backend.ask(1, 2, 3)" in error.traceback


def test_a_call_that_was_not_answered_in_time_is_an_error_of_the_caller(deployment):
    fails(deployment.Frontend.impatient())
    (error,) = errors(deployment, "Frontend", "impatient", 1)
    assert (error.kind, error.line) == ("DeadlineExceeded", line_of("# impatient"))
    assert "self.backend.slow" in error.traceback


def test_an_answer_with_a_status_of_500_is_an_error_and_one_of_400_is_not(deployment):
    assert post(deployment, "refuse", status=404).status_code == 404
    assert post(deployment, "refuse", status=503).status_code == 503
    (error,) = errors(deployment, "Frontend", "refuse", 1)
    assert (error.kind, error.message, error.count) == ("HTTPException", "503: not today", 1)


def test_mistakes_of_clients_and_cancelled_requests_are_no_errors(deployment):
    fails(deployment.Backend.reject("x"))
    with pytest.raises(InvalidArgument):
        deployment.Backend.ask(1, 2, 3).result()
    assert post(deployment, "route").status_code == 422

    async def cancel():
        call = asyncio.ensure_future(deployment.Backend.slow("x").using(timeout=1000))
        await asyncio.wait([call], timeout=0.1)
        call.cancel()
        await asyncio.wait([call])

    portal.run(cancel())
    fails(deployment.Backend.ask("last"))
    errors(deployment, "Backend", "ask", 1)
    assert not [e for e in deployment.errors("Backend").result() if e.endpoint == "reject"]
    assert not [e for e in deployment.errors().result() if "Cancelled" in e.kind]


def test_the_log_has_a_line_for_each_distinct_error(deployment):
    for _ in range(50):
        post(deployment, "route", text="x")
    log = until(lambda: "in the route" in (text := deployment.logs("Frontend", 1000)) and text)
    lines = [line for line in log.splitlines() if "Frontend.route failed:" in line]
    assert lines == [
        f"Frontend[0]: Frontend.route failed: RuntimeError: in the route, at {line_of('# route')}",
    ]
    assert log.count("RuntimeError: in the route") == 2  # the line, and the first traceback of the web server


def test_dynamo_errors_shows_them(deployment, capsys):
    fails(deployment.Backend.ask("shown"))
    errors(deployment, "Backend", "ask", 1)
    run(["errors", "Backend"], TerminalHost())
    text = capsys.readouterr().out
    assert "Backend.ask: ValueError: no answer to shown" in text
    assert "raise ValueError" in text
    assert "Frontend" not in text
    run(["errors", "--json"], TerminalHost())
    assert {error["service"] for error in json.loads(capsys.readouterr().out)} >= {"Backend"}


def test_the_errors_of_an_unknown_service_are_refused(deployment):
    with pytest.raises(DeploymentError, match="did you mean 'Backend'"):
        deployment.errors("Backendd").result()


def test_an_endpoint_that_succeeds_leaves_nothing(deployment):
    before = deployment.metrics().result()["error_reports"]
    for _ in range(10):
        deployment.Backend.works().result()
    assert deployment.metrics().result()["error_reports"] == before


def test_the_errors_of_a_worker_that_ended_stay(deployment):
    fails(deployment.Backend.ask("before the restart"))
    known = sum(e.count for e in deployment.errors("Backend").result())
    deployment.restart("Backend").result()
    assert sum(e.count for e in deployment.errors("Backend").result()) >= known
    assert any("before the restart" in e.message for e in deployment.errors("Backend").result())
