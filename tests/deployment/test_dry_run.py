"""What a dry run finds: the errors for which `serve` or a worker would fail, without a process of theirs."""

import fcntl
import socket
import subprocess

import pytest

from dynamo_nb.cli.main import run
from dynamo_nb.cli.terminal_host import TerminalHost
from dynamo_nb.control import state_dir
from dynamo_nb.control.processes import ProcessId
from dynamo_nb.control.record import Record
from dynamo_nb.deployment.dry_run import problems, report
from dynamo_nb.deployment.serve_options import ServeOptions
from dynamo_nb.errors import ConfigError, ConnectError, DynamoError, EngineError, InvalidArgument, PlacementError

PROGRAM = """
import argparse

from dynamo_nb import depends, dynamo_api, dynamo_endpoint, service
from dynamo_nb.errors import ConfigError, Problem
from dynamo_nb.llm import EchoWorker, Processor, TorchWorker, VllmWorker


@service(resources={"gpu": 2}, workers=3)
class Backend:
    @dynamo_endpoint()
    async def say(self) -> str:
        return ""


@service
class Frontend:
    backend = depends(Backend)

    def __init__(self, port=0):
        pass

    @dynamo_api()
    async def say(self) -> str:
        return ""


@service
class Strict:
    def __init__(self, low=1, high=2):
        pass

    @classmethod
    def dynamo_check_config(cls, low=1, high=2):
        if low > high:
            raise ConfigError([Problem("low is more than high", "Strict.low")])
        if low == 0:
            raise ValueError("needs its dependencies")
        if low < 0:
            argparse.ArgumentParser().parse_args([str(low)])

    @dynamo_endpoint()
    async def say(self) -> str:
        return ""


@service
class Local:
    strict = depends(Strict)

    @dynamo_endpoint()
    async def say(self) -> str:
        return ""


Processor.link(EchoWorker)
"""


@pytest.fixture
def find(project, monkeypatch):
    """The plan and the problems of a target, on a machine with two GPUs."""
    project.write("program.py", PROGRAM)
    monkeypatch.setenv("DYNAMO_GPUS", "0,1")

    def plan(target, *args, **options):
        found = project.plan_source(f"program:{target}", args=args).plan()
        return found, problems(found, ServeOptions(**{"http_port": 0, **options}))

    return plan


ONE = "--Backend.ServiceArgs.workers=1"


@pytest.mark.parametrize(
    ("target", "args", "kinds", "words"),
    [
        ("Backend", [ONE], [], ""),
        ("Backend", [], [PlacementError], "Backend.1 needs 2 GPU, and 0 can be allocated"),
        ("Backend", ["--Backend.ServiceArgs.resources.gpu=0"], [], ""),
        ("Backend", ["--Backend.ServiceArgs.resources.gpu=0.5"], [], ""),
        ("Backend", [ONE, "--Backend.ServiceArgs.resources.gpu=3"], [PlacementError], "needs 3 GPU, and 2 can be"),
        ("Frontend", [ONE, "--Frontend.ServiceArgs.resources.gpu=1"], [PlacementError], "Frontend.0 needs 1 GPU"),
        ("Backend", ["--Backend.ServiceArgs.workers=1001"], [PlacementError], "cannot have 1,001 workers"),
        ("Strict", [], [], ""),
        ("Strict", ["--Strict.low=3"], [ConfigError], "low is more than high"),
        ("Strict", ["--Strict.low=0"], [], ""),
        ("Strict", ["--Strict.low=-1"], [ConfigError], "its parser exits with 2; its message is printed above"),
        ("Local", ["--Strict.low=3", "--Strict.ServiceArgs.dynamo.enabled=false"], [ConfigError], "low is more than"),
        ("EchoWorker", ["--EchoWorker.max_model_len=1000000"], [EngineError], "does not fit into"),
        ("EchoWorker", ["--EchoWorker.block_size=0"], [InvalidArgument], "at least 1 token"),
        ("EchoWorker", [], [], ""),
        ("EchoWorker", ["--EchoWorker.model=/no/folder"], [DynamoError], "no folder '/no/folder'"),
        ("EchoWorker", ["--EchoWorker.model=./none"], [DynamoError], "no folder './none'"),
        ("EchoWorker", ["--EchoWorker.model=a/name"], [], ""),
        ("Processor", ["--Processor.model=/no/folder"], [DynamoError], "no folder '/no/folder'"),
        ("Processor", ["--Processor.model=/tmp"], [DynamoError], "the tokenizer of '/tmp' cannot be loaded"),
        ("Processor", ["--Processor.model=a/name"], [], ""),
        ("Processor", ["--Processor.chat_template=/no/file"], [DynamoError], "the chat template cannot be read"),
        ("Processor", ["--Processor.chat_template={{ messages }}"], [], ""),
        (
            "Processor",
            ['--Processor.chat_template_kwargs={"messages": 1}'],
            [InvalidArgument],
            "'messages' is not a var",
        ),
        ("TorchWorker", ["--TorchWorker.slots=0"], [EngineError], "slots is 0"),
    ],
)
def test_what_a_worker_or_the_placement_would_refuse(find, target, args, kinds, words):
    _, found = find(target, *args)

    assert [type(error) for error in found] == kinds
    assert all(words in str(error) for error in found)


@pytest.mark.parametrize(
    ("option", "kind"),
    [
        ({"http_port": "taken"}, PlacementError),
        ({"metrics_port": "taken"}, PlacementError),
        ({"metrics_host": "192.0.2.1"}, PlacementError),
        ({"worker_host": "192.0.2.1"}, PlacementError),
        ({"worker_host": "127.0.0.1"}, None),
        ({"http_port": 70000}, ConfigError),
        ({"metrics_port": 70000}, ConfigError),
        ({"grace": -1.0}, ConfigError),
        ({"tls": "no such folder"}, ConnectError),
        ({}, None),
    ],
    ids=[
        "a port in use",
        "a metrics port in use",
        "no address of this machine",
        "no address of this machine for workers",
        "an address of this machine for workers",
        "no port",
        "no metrics port",
        "a negative grace",
        "no TLS files",
        "none",
    ],
)
def test_what_is_wrong_with_the_options(find, option, kind):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        option = {key: server.getsockname()[1] if value == "taken" else value for key, value in option.items()}
        _, found = find("Frontend", ONE, **option)

    assert [type(error) for error in found] == [kind][: kind is not None]


@pytest.mark.parametrize(("stopping", "kinds"), [(True, []), (False, [PlacementError])], ids=["it ends", "it goes on"])
@pytest.mark.parametrize("held", ["port", "GPU"])
def test_what_a_deployment_that_ends_holds_is_no_problem_since_serve_waits_for_it(
    find, dynamo_home, held, stopping, kinds
):
    folder = state_dir.new_folder("other")
    with socket.socket() as server, subprocess.Popen(["sleep", "1000"]) as process:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        (dynamo_home / "gpus").mkdir()
        with (dynamo_home / "gpus" / "0").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            own = ProcessId.of(process.pid)
            Record(folder.name, "other", folder, own, None, 0.0, ports=(port,), gpus=("0",), stopping=stopping).write()
            if held == "port":
                _, found = find("Frontend", ONE, http_port=port)
            else:
                _, found = find("Backend", ONE)
        process.kill()

    assert [type(error) for error in found] == kinds


def test_the_port_of_the_configuration_is_checked(find):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        _, (error,) = find("Frontend", ONE, f"--Frontend.port={server.getsockname()[1]}", http_port=None)

    assert "is in use by" in str(error)


def test_several_problems_are_all_found(find):
    _, found = find("Frontend", "--Backend.ServiceArgs.workers=1", "--Frontend.ServiceArgs.resources.gpu=7", grace=-1.0)
    assert [type(error) for error in found] == [ConfigError]

    _, found = find("EchoWorker", "--EchoWorker.block_size=0", "--EchoWorker.ServiceArgs.resources.gpu=7")
    assert [type(error) for error in found] == [PlacementError, InvalidArgument]


def test_the_graph_is_drawn_with_the_configuration(find):
    plan, _ = find("Frontend", "--Backend.ServiceArgs.workers=2", "--Backend.ServiceArgs.resources.gpu=1")

    drawn, placement = report(plan, ServeOptions()).partition("Graph:")[2].split("Placement: ")
    assert "2 · 1 GPU" in drawn
    assert "2 GPU" not in drawn
    assert placement.startswith("2 GPU needed; on this machine: 0, 1\n")


def test_nothing_is_kept_and_the_environment_is_as_before(find, dynamo_home, monkeypatch):
    monkeypatch.setenv("DYNAMO_SERVICE_CONFIG", '{"Strict": {"high": 9}}')

    assert find("Strict", "--Strict.low=8")[1] == []
    assert [type(error) for error in find("Strict", "--Strict.low=10")[1]] == [ConfigError]

    for _ in range(2):
        assert find("Backend", ONE)[1] == []
    assert [path.name for path in dynamo_home.iterdir()] == ["gpus"]


CALLERS = """\
from dynamo_nb import depends, dynamo_endpoint, service


@service
class Embedder:
    @dynamo_endpoint()
    async def encode(self, text: str): ...


@service
class Caller:
    embedder = depends(Embedder)

    @dynamo_endpoint()
    async def run(self):
        return await self.embedder.embed("a")
"""


def test_a_call_that_would_fail_is_noted_in_a_dry_run_and_in_the_plan(project, capsys):
    project.write("callers.py", CALLERS)
    note = "Caller calls Embedder.embed, which this version does not have; it has encode  (callers.py:16)"

    assert project.plan_source("callers:Caller").plan().notes == (note,)
    run(["serve", "callers:Caller", "--dry-run"], TerminalHost())

    assert f"note: {note}\n" in capsys.readouterr().out
