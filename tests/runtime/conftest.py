import asyncio
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from dynamo_nb.runtime import DistributedRuntime, NatsServer, attempts, call_context

WORKER = Path(__file__).parent / "echo_worker.py"


@pytest.fixture(scope="session")
def nats_url(tmp_path_factory):
    server = NatsServer()
    asyncio.run(server.start(tmp_path_factory.mktemp("nats")))
    yield server.url
    asyncio.run(server.stop())


@pytest.fixture
def space():
    """A namespace that no other test uses."""
    return f"test.{uuid.uuid4().hex}"


@pytest.fixture
async def connect(nats_url):
    """Connects runtimes, and closes them after the test."""
    runtimes = []

    async def create(**options):
        runtimes.append(await DistributedRuntime.connect(options.pop("url", nats_url), **options))
        return runtimes[-1]

    yield create
    for runtime in reversed(runtimes):
        await runtime.close()


@pytest.fixture(params=["unix", "tcp", "tls", "nats"])
def plane_options(request, tmp_path):
    """Options with which a runtime serves, and calls, over one of the planes."""
    if request.param == "tls":
        return {"tls": str(request.getfixturevalue("certificates")), "host": "127.0.0.1"}
    return {"unix": {"socket_dir": tmp_path}, "tcp": {"host": "127.0.0.1"}, "nats": {"plane": "nats"}}[request.param]


@pytest.fixture
def caller_options(plane_options):
    """Options with which a runtime calls over that plane: only TLS needs any."""
    return {name: plane_options[name] for name in plane_options if name == "tls"}


@pytest.fixture
def short_wait(monkeypatch):
    """Makes a call without an instance fail soon: no other instance will register in these tests."""
    monkeypatch.setattr(attempts, "INSTANCE_WAIT", 0.1)


@pytest.fixture
def start_worker(nats_url, space, tmp_path):
    """Starts worker processes that serve `Echo`; see echo_worker.py."""
    processes = []

    def start(lease=3.0, url=nats_url):
        processes.append(subprocess.Popen([sys.executable, WORKER, url, str(tmp_path), space, str(lease)]))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def wait_for_exit():
    """Waits until a process has ended, also if it is not a child of this one."""

    async def wait(pid):
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        loop.add_reader(fd, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(fd)
            os.close(fd)

    return wait


@pytest.fixture
def any_header(monkeypatch):
    """Turns the check of headers off, so that a test can send a deadline that only the worker enforces."""
    for module in (attempts, call_context):
        monkeypatch.setattr(module, "checked_headers", dict)
