import asyncio

import pytest
from faulty_program import PROGRAM
from load import until

from dynamo_nb.runtime import DistributedRuntime


@pytest.fixture
def program(project):
    """A folder with program.py."""
    project.write("program.py", PROGRAM)
    return project


@pytest.fixture
async def serve(program):
    """Serves Frontend, or another service of the program; configuration by dotted names."""
    deployments = []

    async def start(entry="Frontend", config=(), **options):
        args = [f"--{key}={value}" for key, value in dict(config).items()]
        deployments.append(await program.serve(f"program:{entry}", args=args, **options))
        return deployments[-1]

    yield start
    for deployment in deployments:
        await deployment.stop()
    # A deployment does not wait until this loop has closed its connections, because the loop might be blocked.
    await until(lambda: not asyncio.all_tasks() - {asyncio.current_task()})


@pytest.fixture
async def connect(serve):
    """Connects runtimes, and closes them after the test."""
    runtimes = []

    async def create(url, **options):
        runtimes.append(await DistributedRuntime.connect(url, **options))
        return runtimes[-1]

    yield create
    for runtime in reversed(runtimes):
        await runtime.close()
