import sys

import pytest
from cell_runners import Kernel, Shell


@pytest.fixture
def shell(dynamo_home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main = sys.modules["__main__"]
    shell = Shell()
    yield shell
    shell.close()
    assert sys.modules["__main__"] is main


@pytest.fixture
def kernel(dynamo_home, tmp_path):
    kernel = Kernel(tmp_path, dynamo_home)
    yield kernel
    kernel.close()


@pytest.fixture(scope="module")
def shared_kernel(module_home, tmp_path_factory):
    """For tests that may see each other's cells."""
    kernel = Kernel(tmp_path_factory.mktemp("notebook"), module_home)
    yield kernel
    kernel.close()
