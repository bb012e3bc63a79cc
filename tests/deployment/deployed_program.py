"""The graph that these tests serve, and how they observe it from outside."""

import time

import psutil

PROGRAM = """
import asyncio
import os
import subprocess
import time
from pathlib import Path

from dynamo_nb import async_on_shutdown, async_on_start, depends, dynamo_endpoint, service

if os.environ.get("BROKEN_IMPORT"):
    import a_module_that_is_not_there


@service(workers=2)
class Backend:
    def __init__(self, suffix="", fault="", notes=""):
        self.suffix, self.fault, self.notes = suffix, fault, notes
        if fault == "init":
            raise ValueError("no suffix will do")

    def note(self, what):
        if self.notes:
            with open(self.notes, "a") as file:
                file.write(f"{what} {os.getpid()}\\n")

    @async_on_start
    async def load(self):
        print("weights loaded")
        self.note("start")
        if self.fault == "start":
            raise RuntimeError("no weights here")
        if self.fault == "exit":
            os._exit(3)
        if self.fault == "never":
            await asyncio.Event().wait()

    @async_on_shutdown
    async def release(self):
        print("weights released")
        self.note("shutdown")

    @dynamo_endpoint()
    async def pid(self) -> int:
        return os.getpid()

    @dynamo_endpoint()
    async def say(self, text: str) -> str:
        return text + self.suffix

    @dynamo_endpoint()
    async def speak(self, text: str) -> None:
        print(text)

    @dynamo_endpoint()
    async def visible(self) -> str:
        return os.environ["CUDA_VISIBLE_DEVICES"]

    @dynamo_endpoint()
    async def hold(self, gate: str) -> str:
        Path(gate + ".held").touch()
        while not Path(gate).exists():
            await asyncio.sleep(0.02)
        return "finished"

    @dynamo_endpoint()
    async def block(self, gate: str) -> None:
        Path(gate + ".held").touch()
        time.sleep(1000)

    @dynamo_endpoint()
    async def start_children(self) -> list[int]:
        plain = subprocess.Popen(["sleep", "1000"])
        apart = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        script = "setsid sleep 1000 >/dev/null 2>&1 & echo $!"
        daemon = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, check=True)
        return [plain.pid, apart.pid, int(daemon.stdout)]


@service
class Frontend:
    backend = depends(Backend)

    @dynamo_endpoint()
    async def pid(self) -> int:
        return os.getpid()

    @dynamo_endpoint()
    async def say(self, text: str) -> str:
        return await self.backend.say(text)

    @dynamo_endpoint()
    async def hold(self, gate: str) -> str:
        return await self.backend.hold(gate)
"""

SCRIPT = """
import json
import sys

from program import Frontend

from dynamo_nb import serve

deployment = serve(Frontend, json.loads(sys.argv[1]), http_port=0, kernels=False).result()
children = deployment.Backend.start_children().result()
print(json.dumps({"supervisor": deployment.status.pid, "children": children}), flush=True)
sys.stdin.read()
"""


def until(condition, bound=15.0):
    """Polls a condition that no event announces, such as the end of another process. Returns its value."""
    deadline = time.monotonic() + bound
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.02)
    return value


def workers(deployment, service="Backend"):
    """The ready workers of a service, by index."""
    found = deployment.status.services[service].workers
    return {worker.index: worker for worker in found if worker.state == "ready"}


def pids(deployment, service="Backend"):
    return [worker.pid for worker in workers(deployment, service).values()]


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def folders(home):
    return [path for path in home.iterdir() if path.name != "gpus"]
