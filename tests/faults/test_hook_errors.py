"""Errors of hooks whose text is huge or cannot be encoded are reported, bounded; a deployment is refused in a fork."""

import os

import pytest

from dynamo_nb.errors import LONGEST_TEXT, DeploymentError, StartError

pytestmark = pytest.mark.slow

PROGRAM = """
import os
import sys

from dynamo_nb import async_on_shutdown, async_on_start, dynamo_endpoint, liveness, reconfigure, service

{exit}


class BrokenStr(Exception):
    def __str__(self):
        raise ZeroDivisionError


ERRORS = {{
    "surrogate": lambda: ValueError("bad \\ud800"),
    "140 MB": lambda: ValueError("x" * 140_000_000),
    "group": lambda: ExceptionGroup("bad \\ud800", [ValueError("inner")]),
    "broken": BrokenStr,
}}


@service
class Hooked:
    def __init__(self, start: str = "", kind: str = "", text: str = ""):
        self.kind = kind
        if start == "constructor":
            raise ERRORS[kind]()
        self.start = start

    @async_on_start
    async def begin(self):
        if self.start == "start":
            raise ERRORS[self.kind]()

    @reconfigure
    def change(self, config):
        if text := config.get("text"):
            raise ERRORS[text]()

    @async_on_shutdown
    async def end(self):
        raise ERRORS["140 MB"]()

    @dynamo_endpoint()
    async def pid(self) -> int:
        return os.getpid()
"""


@pytest.mark.parametrize("kind", ["surrogate", "140 MB", "group", "broken"])
@pytest.mark.parametrize("place", ["constructor", "start"])
async def test_the_error_of_a_start_is_bounded_and_readable(project, place, kind):
    project.write("hooked.py", PROGRAM.format(exit=""))
    with pytest.raises(StartError) as caught:
        await project.serve("hooked:Hooked", args=[f"--Hooked.start={place}", f"--Hooked.kind={kind}"])
    error = caught.value
    assert str(error).encode()
    assert len(error.what) + len(error.traceback) < 3 * LONGEST_TEXT
    assert len(error.log) < 10 * LONGEST_TEXT


async def test_hooks_of_a_running_service_are_reported_and_do_not_hold_it_up(project, dynamo_home):
    project.write("hooked.py", PROGRAM.format(exit=""))
    async with await project.serve("hooked:Hooked") as deployment:
        for kind in ("surrogate", "140 MB", "group", "broken"):
            with pytest.raises(DeploymentError, match=r"rejected its configuration") as caught:
                await deployment.update({"Hooked.text": kind})
            assert len(str(caught.value).encode()) < 5 * LONGEST_TEXT
        assert await deployment.Hooked.pid() > 0
        log = next(dynamo_home.glob("*/logs/Hooked.0.log")).open()
    with log:  # also what the shutdown hook raised
        text = log.read()
    assert "characters left out" in text
    assert len(text) < 20 * LONGEST_TEXT


def test_a_deployment_in_a_forked_process_is_an_error_at_once(project):
    project.write("hooked.py", PROGRAM.format(exit=""))
    with project.serve("hooked:Hooked").result() as deployment:
        assert deployment.Hooked.pid().result(30) > 0
        for use in (
            lambda: deployment.Hooked.pid().result(30),
            lambda: deployment.scale(Hooked=2).result(30),
            lambda: deployment.stop().result(30),
        ):
            reading, writing = os.pipe()
            if (pid := os.fork()) == 0:
                try:
                    use()
                    os.write(writing, b"no error")
                except BaseException as error:
                    os.write(writing, f"{type(error).__name__}: {error}".encode())
                finally:
                    os._exit(0)
            os.close(writing)
            with os.fdopen(reading) as file:
                text = file.read()
            os.waitpid(pid, 0)
            assert "was opened before this process was forked" in text
        assert deployment.Hooked.pid().result(30) > 0


def test_an_exit_in_a_module_that_is_read_anew_is_an_error(project):
    project.write("hooked.py", PROGRAM.format(exit=""))
    with project.serve("hooked:Hooked").result() as deployment:
        project.write("hooked.py", PROGRAM.format(exit="sys.exit(3)"))
        with pytest.raises(BaseException, match="3"):
            deployment.update().result(60)
        assert deployment.Hooked.pid().result(30) > 0
