"""The background loop behind `.result()`: nothing that runs on it ends it, and no wait for it is endless."""

import asyncio
import os
import sys
import threading

import pytest

from dynamo_nb.errors import DeploymentError, DynamoError
from dynamo_nb.runtime import DistributedRuntime, NatsServer
from dynamo_nb.sdk import dynamo_endpoint, service
from dynamo_nb.sdk.portal import Pending, on_portal, portal

BOUND = 10  # seconds for what must not take long


class OwnBaseException(BaseException):
    pass


@service
class Tried:
    @dynamo_endpoint()
    async def raises(self):
        raise {
            "exit": SystemExit(2),
            "interrupt": KeyboardInterrupt(),
            "end": GeneratorExit(),
            "own": OwnBaseException(),
        }[self.kind]

    @dynamo_endpoint()
    async def streams(self):
        yield 1
        await self.raises()

    @dynamo_endpoint()
    async def answers(self) -> int:
        return 5

    @dynamo_endpoint()
    async def waits(self) -> int:
        return self.answers().result()

    @dynamo_endpoint()
    async def waits_for_items(self) -> list:
        return list(self.answers())

    @dynamo_endpoint()
    async def waits_for_work(self) -> int:
        return Pending(self._work).result()

    @dynamo_endpoint()
    async def waits_with_a_limit(self) -> int:
        return self.answers().result(timeout=30)

    async def _work(self):
        return 5


def in_a_call(kind):
    Tried.kind = kind
    Tried().raises().result(BOUND)


def in_a_stream(kind):
    Tried.kind = kind
    list(Tried().streams())


def in_a_task(kind):
    Tried.kind = kind

    async def begin():
        task = asyncio.get_running_loop().create_task(_awaited(Tried().raises()))
        await asyncio.wait([task])
        raise task.exception()

    portal.run(begin(), BOUND)


async def _awaited(call):
    return await call


def in_a_callback(kind):
    Tried.kind = kind

    async def begin():
        coroutine = Tried.raises.function(Tried())
        asyncio.get_running_loop().call_soon(coroutine.send, None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    portal.run(begin(), BOUND)


@pytest.mark.parametrize("kind", ["exit", "interrupt", "end", "own"])
@pytest.mark.parametrize("place", [in_a_call, in_a_stream, in_a_task, in_a_callback])
def test_a_base_exception_does_not_end_the_loop(place, kind):
    try:
        place(kind)
    except BaseException as error:
        assert type(error).__name__ in {"SystemExit", "KeyboardInterrupt", "GeneratorExit", "OwnBaseException"}  # noqa: PT017
    assert Tried().answers().result(BOUND) == 5


def test_a_stopped_loop_runs_on():
    portal.loop.call_soon_threadsafe(portal.loop.stop)
    assert Tried().answers().result(BOUND) == 5


async def test_an_exit_reaches_the_loop_that_awaits_it_as_an_error():
    async def leave():
        sys.exit(4)

    with pytest.raises(DynamoError, match=r"SystemExit: 4"):
        await on_portal(leave)
    assert await on_portal(Tried()._work) == 5


@pytest.mark.parametrize("endpoint", ["waits", "waits_for_items", "waits_for_work", "waits_with_a_limit"])
def test_a_wait_for_itself_is_an_error_at_once(endpoint):
    with pytest.raises(DynamoError, match=r"(?s)\.result\(\).*write `await`"):
        getattr(Tried(), endpoint)().result(BOUND)
    assert Tried().answers().result(BOUND) == 5


def not_started():
    raise DeploymentError("deployment 'no such name' not found")


def index_error():
    return list[int]()[0]


def exits():
    sys.exit(1)


async def unawaitable():
    return await 5


def no_coroutine():
    return 5


STARTS = {
    DeploymentError: not_started,
    IndexError: index_error,
    DynamoError: exits,
    TypeError: unawaitable,
    (TypeError, AttributeError): no_coroutine,
}


@pytest.mark.parametrize(("error", "start"), STARTS.items(), ids=[start.__name__ for start in STARTS.values()])
async def test_work_that_cannot_start_ends_with_its_error(error, start):
    with pytest.raises(error):
        await asyncio.wait_for(_awaited(Pending(lambda: on_portal(start))), BOUND)


@pytest.mark.parametrize(("error", "start"), STARTS.items(), ids=[start.__name__ for start in STARTS.values()])
def test_work_that_cannot_start_ends_with_its_error_in_a_script(error, start):
    with pytest.raises(error):
        Pending(lambda: on_portal(start)).result(BOUND)


async def test_work_can_be_cancelled_in_any_state():
    begun, ended = threading.Event(), threading.Event()

    async def endless():
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.ensure_future(_awaited(Pending(lambda: on_portal(endless))))
    await asyncio.to_thread(begun.wait, BOUND)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, BOUND)
    assert ended.wait(BOUND)


def in_a_fork(function):
    """Runs a function in a forked process. Returns the text of its error."""
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        text = "no error"
        try:
            function()
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        finally:
            os.write(writing, text.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return text


def test_a_client_in_a_forked_process_is_an_error_at_once(tmp_path):
    server = NatsServer()
    portal.run(server.start(tmp_path), 30)

    async def connect():
        runtime = await DistributedRuntime.connect(server.url, socket_dir=tmp_path)

        async def handle(args, kwargs, context):
            return 5

        await runtime.namespace("n").component("C").serve({"e": handle})
        client = await runtime.namespace("n").component("C").endpoint("e").client()
        await client.wait_for_instances(BOUND)
        return runtime, client

    runtime, client = portal.run(connect(), 30)
    try:
        assert client.call([]).result(BOUND) == 5
        for use in (
            lambda: client.call([]).result(BOUND),
            lambda: list(client.call([])),
            lambda: asyncio.run(_awaited(client.call([]))),
        ):
            assert "DynamoError: the client of dynamo://n/C/e was opened before this process was forked" in in_a_fork(
                use
            )
        assert client.call([]).result(BOUND) == 5
    finally:
        portal.run(runtime.close(), 30)
        portal.run(server.stop(), 30)


def test_a_forked_process_has_a_background_loop_of_its_own():
    assert Tried().answers().result(BOUND) == 5
    assert in_a_fork(lambda: Tried().answers().result(BOUND)) == "no error"
