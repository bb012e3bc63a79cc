"""A deployment that cannot start: the error shows the user's own lines at once, and no process is left."""

import asyncio
import os
import socket

import pytest
from deployed_program import alive, folders, until

from dynamo_nb.errors import ConnectError, DeploymentError, PlacementError, StartError

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def no_folder_is_left(program, dynamo_home):
    yield
    assert folders(dynamo_home) == []


@pytest.mark.parametrize(
    ("words", "message", "line"),
    [
        (["--Backend.fault=start"], "Backend did not start: RuntimeError: no weights here", "raise RuntimeError("),
        (["--Backend.fault=init"], "Backend did not start: ValueError: no suffix will do", "raise ValueError("),
        (
            ["--Backend.ServiceArgs.envs.BROKEN_IMPORT=1"],
            "Backend did not start: ModuleNotFoundError: No module named 'a_module_that_is_not_there'",
            "import a_module_that_is_not_there",
        ),
    ],
)
@pytest.mark.parametrize("kernels", [False, True])
def test_an_error_of_the_service_is_shown_with_its_lines(program, words, message, line, kernels):
    with pytest.raises(StartError, match=message) as error:
        program.serve("program:Frontend", args=words, kernels=kernels).result()

    assert line in error.value.traceback
    assert f'File "{program.folder / "program.py"}", line ' in error.value.traceback
    assert "dynamo_nb/" not in error.value.traceback
    assert error.value.log == ("weights loaded" if words == ["--Backend.fault=start"] else "")
    assert ".log" not in str(error.value)


def test_a_worker_that_exits_at_its_start_is_shown_with_the_last_lines_of_its_log(program):
    with pytest.raises(StartError, match=r"Backend\[\d\] ended by itself, with exit code 3") as error:
        program.serve("program:Frontend", args=["--Backend.fault=exit"]).result()

    assert "weights loaded" in error.value.log


def test_a_start_that_never_ends_can_be_interrupted(program, tmp_path):
    notes = tmp_path / "notes"

    async def interrupted():
        words = ["--Backend.fault=never", f"--Backend.notes={notes}"]
        serving = asyncio.ensure_future(program.serve("program:Frontend", args=words))
        await asyncio.to_thread(until, lambda: notes.exists() and len(notes.read_text().splitlines()) == 2)
        serving.cancel()
        await asyncio.wait([serving])
        return serving.cancelled()

    assert asyncio.run(interrupted())
    assert not any(alive(int(line.split()[1])) for line in notes.read_text().splitlines())


def test_a_nats_server_that_does_not_answer_is_named_in_the_error(program):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ConnectError, match=address) as error:
            program.serve("program:Frontend", nats=f"nats://secret@{address}").result()

    assert "secret" not in str(error.value)


def test_an_error_about_a_port_in_use_names_the_process(program):
    program.write("with_http.py", HTTP)
    with socket.create_server(("127.0.0.1", 0)) as in_use:
        port = in_use.getsockname()[1]
        with pytest.raises(PlacementError, match=f"port {port} is in use by process {os.getpid()} "):
            program.serve("with_http:Page", http_port=port).result()


HTTP = """
from dynamo_nb import dynamo_api, service


@service
class Page:
    @dynamo_api()
    async def say(self, text: str) -> str:
        return text
"""


ODD = """
import asyncio

from dynamo_nb import async_on_start, dynamo_endpoint, liveness, reconfigure, service


class Odd(BaseException):
    pass


@service
class Backend:
    def __init__(self, fault="", limit=0):
        self.fault = fault
        if fault == "init":
            raise Odd("an unusual error")

    @async_on_start
    async def begin(self):
        if self.fault == "start":
            raise asyncio.CancelledError("in a task of the service")

    @reconfigure
    async def take(self, config):
        raise Odd("not today")

    @dynamo_endpoint()
    async def pid(self) -> int:
        return 1
"""


@pytest.mark.parametrize(("fault", "message"), [("init", "Odd: an unusual error"), ("start", "CancelledError")])
def test_an_error_that_is_not_an_exception_is_reported_too(project, fault, message):
    project.write("odd.py", ODD)
    with pytest.raises(StartError, match=message):
        project.serve("odd:Backend", args=[f"--Backend.fault={fault}"]).result(timeout=60)


def test_a_reconfigure_hook_may_raise_anything(project):
    project.write("odd.py", ODD)
    with (
        project.serve("odd:Backend").result(timeout=60) as deployment,
        pytest.raises(DeploymentError, match="Odd: not today"),
    ):
        deployment.update({"Backend.limit": 2}).result(timeout=60)
