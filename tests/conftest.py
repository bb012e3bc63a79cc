import os
import shutil
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import trustme

from dynamo_nb.deployment.config_layers import layers_of
from dynamo_nb.deployment.plan_source import FixedProgram
from dynamo_nb.deployment.serve_options import ServeOptions
from dynamo_nb.deployment.start import start
from dynamo_nb.program import find
from dynamo_nb.runtime.connection_settings import CA, CERTIFICATE, KEY
from dynamo_nb.sdk.portal import Pending, on_portal

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before anything imports what reads it: no test fetches a model


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
    _, left = psutil.wait_procs(list(processes_of(home)), timeout=20)
    found = [repr(process) for process in left]
    for process in left:
        process.kill()
    shutil.rmtree(home, ignore_errors=True)
    assert not found, f"the deployment left processes behind: {found}"


@pytest.fixture
def dynamo_home():
    with short_home() as home:
        yield home


@pytest.fixture(scope="session")
def new_home():
    """For a deployment that lives as long as a fixture of another scope."""
    return short_home


@pytest.fixture(scope="module")
def module_home():
    """The same for a deployment that the tests of one module share."""
    with short_home() as home:
        yield home


@pytest.fixture
def figures(record_property, request):
    """Says what was measured: on the screen (with -s), and in the report."""

    def say(**values):
        for name, value in values.items():
            record_property(name, value)
        text = ", ".join(f"{name} {value}" for name, value in values.items())
        print(f"\n{request.node.name}: {text}", flush=True)

    return say


class Project:
    """A folder of modules and configuration, as a person has one, and the ways to serve it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, *parts: str) -> None:
        (self.folder / name).write_text("\n\n".join(parts))

    def plan_source(self, target, *files, args=(), namespace=None):
        layers = layers_of([self.folder / file for file in files], args)
        return FixedProgram(found=find(target, self.folder), configs=layers, namespace=namespace)

    def config(self, target, *files, args=()):
        return self.plan_source(target, *files, args=args).plan().config

    def serve(self, target, *files, args=(), namespace=None, only="", nats=None, http_port=0, kernels=False, **options):
        """only: the one service to be served, as a pod does."""
        source = replace(self.plan_source(target, *files, args=args, namespace=namespace), only=only)
        options = ServeOptions(nats=nats, http_port=http_port, kernels=kernels, **options)
        return Pending(lambda: on_portal(lambda: start(source, options)))


@contextmanager
def project_in(folder):
    """What the project imports into this process is forgotten afterwards."""
    before, path = set(sys.modules), list(sys.path)
    yield Project(folder)
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
            del sys.modules[name]


@pytest.fixture
def project(tmp_path, dynamo_home):
    with project_in(tmp_path) as project:
        yield project


@pytest.fixture(scope="module")
def module_project(tmp_path_factory, module_home):
    """The same for a deployment that the tests of one module share."""
    with project_in(tmp_path_factory.mktemp("project")) as project:
        yield project


@pytest.fixture(scope="session")
def new_certificates(tmp_path_factory):
    """Makes a TLS folder with a certificate for the loopback, of an authority of its own."""

    def make():
        authority, folder = trustme.CA(), tmp_path_factory.mktemp("tls")
        own = authority.issue_cert("127.0.0.1", "localhost")
        authority.cert_pem.write_to_path(folder / CA)
        own.cert_chain_pems[0].write_to_path(folder / CERTIFICATE)
        own.private_key_pem.write_to_path(folder / KEY)
        return folder

    return make


@pytest.fixture(scope="session")
def certificates(new_certificates):
    return new_certificates()


def pytest_collection_modifyitems(items):
    """Starts with the files that have the most slow tests, for processes side by side to end at about the same time."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: (-slow[item.path], item.path))
