import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest


def processes_of(home):
    """The processes that were started with this DYNAMO_HOME."""
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("DYNAMO_HOME") == str(home):
                yield process
        except psutil.Error:
            continue


@contextmanager
def short_home():
    """DYNAMO_HOME in a folder short enough for sockets; afterwards no process of it may live."""
    home = Path(tempfile.mkdtemp(prefix="d", dir="/tmp"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DYNAMO_HOME", str(home))
        patch.delenv("DYNAMO_SERVICE_CONFIG", raising=False)
        yield home
    _, left = psutil.wait_procs(list(processes_of(home)), timeout=5)
    found = [f"{process.pid}: {' '.join(process.cmdline())}" for process in left]
    for process in left:
        process.kill()
    shutil.rmtree(home, ignore_errors=True)
    assert not found, f"the deployment left processes behind: {found}"


@pytest.fixture
def dynamo_home():
    with short_home() as home:
        yield home


@pytest.fixture(scope="module")
def module_home():
    """The same for a deployment that the tests of one module share."""
    with short_home() as home:
        yield home
