"""The `dynamo` command in a real terminal."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pexpect
import psutil
import pytest
from deployed_program import alive, folders, until

from dynamo_nb.control.client import ControlClient
from dynamo_nb.control.record import records
from dynamo_nb.errors import WorkerLost
from dynamo_nb.runtime import DistributedRuntime, NatsServer
from dynamo_nb.sdk.portal import portal

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*forkpty.*:DeprecationWarning")]

DYNAMO = str(Path(sys.executable).with_name("dynamo"))
BOUND = 60


def accept_interrupts():
    """Restores the handler that a terminal has: a shell starts background jobs with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def terminal(program):
    """Runs `dynamo …` in a terminal, in the program's folder."""
    children = []

    def run(*words, colours=False):
        child = pexpect.spawn(
            DYNAMO,
            list(words),
            cwd=str(program.folder),
            encoding="utf-8",
            timeout=BOUND,
            env={**os.environ, "NO_COLOR": "" if colours else "1"},
            preexec_fn=accept_interrupts,
        )
        children.append(child)
        return child

    yield run
    for child in children:
        child.close(force=True)


@pytest.fixture
def dynamo(program):
    """Runs `dynamo …` to its end. Returns its output, and fails if the exit status is another one."""

    def run(*words, status=0):
        done = subprocess.run([DYNAMO, *words], cwd=program.folder, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout if status == 0 else done.stderr

    return run


@pytest.fixture(scope="module")
def nats(tmp_path_factory):
    """A NATS server that belongs to no deployment."""
    server = NatsServer()
    asyncio.run(server.start(tmp_path_factory.mktemp("nats")))
    yield server.url
    asyncio.run(server.stop())


def ended(child, status=0):
    if not child.flag_eof:
        child.expect(pexpect.EOF)
    child.wait()
    assert "Traceback" not in child.before
    assert (child.exitstatus, child.signalstatus) == (status, None), child.before
    return child.before


def test_serve_shows_the_lines_of_each_worker_and_ctrl_c_drains_all_of_them(terminal, dynamo_home):
    child = terminal("serve", "program:Frontend", "--http-port", "0", "--Backend.notes=notes")
    child.expect(r"Backend +ready +2/2 workers")
    child.expect(r"Backend\[[01]\]: weights loaded")
    (record,) = records()
    workers = [process.pid for process in record.processes]

    # It reaches the terminal's foreground process group only, which has neither the workers nor the supervisor.
    child.sendintr()

    child.expect_exact("draining")
    assert "Backend[1]: weights released" in ended(child)
    assert not any(map(alive, [*workers, record.supervisor.pid]))
    notes = (Path(child.cwd) / "notes").read_text().splitlines()
    assert sorted(line.split()[0] for line in notes) == ["shutdown"] * 2 + ["start"] * 2
    assert folders(dynamo_home) == []


def test_a_second_ctrl_c_stops_immediately(terminal, dynamo_home, tmp_path):
    gate = tmp_path / "gate"
    child = terminal("serve", "program.py:Frontend", "--no-kernels", "--http-port", "0")
    child.expect_exact("weights loaded")
    (record,) = records()
    portal.run(_interrupt_twice_while_draining(child, record, gate))

    assert "Task was destroyed" not in ended(child, status=130)
    until(lambda: not alive(record.supervisor.pid), 5)
    assert folders(dynamo_home) == []


async def _interrupt_twice_while_draining(child, record, gate):
    control = await ControlClient.connect(record.control)
    url = (await control.request("access"))["nats_url"]
    await control.close()
    runtime = await DistributedRuntime.connect(url)
    client = await runtime.namespace("default").component("Backend").endpoint("hold").client()
    await client.wait_for_instances()
    held = asyncio.ensure_future(_answer(client.call([str(gate)])))
    await asyncio.to_thread(until, gate.with_suffix(".held").exists)
    for _ in range(2):
        child.sendintr()
        await asyncio.to_thread(child.expect_exact, ["draining", pexpect.EOF])
    with pytest.raises(WorkerLost):
        await held
    await runtime.close()


async def _answer(call):
    return await call


def test_ctrl_c_before_the_deployment_is_ready_leaves_no_process(terminal, dynamo_home):
    child = terminal("serve", "program:Frontend", "--port", "0", "--Backend.fault=never", "--Backend.notes=notes")
    until((Path(child.cwd) / "notes").exists, BOUND)

    child.sendintr()

    assert "stopped before it was ready" in ended(child, status=130)
    until(lambda: folders(dynamo_home) == [])


def test_ctrl_c_while_the_program_is_imported_prints_nothing(terminal, program, dynamo_home):
    program.write("slow.py", "import time\nfrom pathlib import Path\nPath('importing').touch()\ntime.sleep(1000)\n")
    child = terminal("serve", "slow.py")
    until((program.folder / "importing").exists, BOUND)

    child.sendintr()

    assert ended(child, status=130).strip() in {"", "^C"}
    assert folders(dynamo_home) == []


def test_ctrl_c_ends_following_the_logs_and_not_the_deployment(terminal, dynamo, dynamo_home):
    dynamo("serve", "program:Frontend", "--detach", "--port", "0", "--no-kernels")
    child = terminal("logs", "-f")
    child.expect_exact("Backend[1]: weights loaded")

    child.sendintr()

    assert "Error" not in ended(child, status=130)
    assert "Backend ready 2/2" in dynamo("ps")
    dynamo("stop")


def test_ctrl_c_ends_an_attached_terminal_and_leaves_the_deployment_running(terminal, dynamo, dynamo_home):
    dynamo("serve", "program:Frontend", "--detach", "--port", "0", "--no-kernels")
    (record,) = records()
    child = terminal("attach")
    child.expect_exact("Ctrl-C leaves it running")
    child.expect_exact("Backend[1]: weights loaded")

    child.sendintr()

    assert f"{record.id} keeps running; `dynamo stop {record.id}` stops it" in ended(child)
    assert "Backend ready 2/2" in dynamo("ps")
    dynamo("stop")


def test_a_service_that_does_not_start_is_one_error_and_exit_status_1(dynamo, dynamo_home):
    shown = dynamo("serve", "program:Frontend", "--port", "0", "--Backend.fault=start", status=1)

    assert shown.startswith("error: Backend did not start: RuntimeError: no weights here\n")
    assert 'raise RuntimeError("no weights here")' in shown
    assert folders(dynamo_home) == []


def test_a_deployment_is_listed_scaled_read_and_stopped_from_another_terminal(dynamo, dynamo_home, terminal):
    assert dynamo("ps") == "nothing is being served\n"
    shown = dynamo("serve", "program:Frontend", "--detach", "--port", "0", "--no-kernels")
    name = re.search(r"deployment (\S+)", shown)[1]
    assert f"`dynamo stop {name}` stops it" in shown
    (record,) = records()
    assert psutil.Process(record.supervisor.pid).ppid() != os.getpid()

    listed = dynamo("ps").splitlines()
    assert listed[1].split()[:2] == [name, "detached"]
    assert listed[1].endswith("Backend ready 2/2, Frontend ready 1/1")

    assert "Frontend.ServiceArgs.workers" in dynamo("config")
    assert dynamo("top", "--once").split("\n")[1].split()[:3] == ["Backend", "ready", "2/2"]

    follower = terminal("logs", "Backend", "-f")
    follower.expect_exact("Backend[1]: weights loaded")
    assert dynamo("scale", "Backend=3") == "Backend ready 3/3, Frontend ready 1/1\n"
    follower.expect_exact("Backend[2]: weights loaded")
    assert dynamo("logs", "Backend", "-n", "1").splitlines() == [f"Backend[{i}]: weights loaded" for i in range(3)]
    assert "is not running here" in dynamo("scale", "Backnd=3", status=1)
    assert "Backend" in dynamo("logs", "Backnd", status=1)
    assert dynamo("logs", "Backend[1]", "-n", "1") == "Backend[1]: weights loaded\n"
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d\.\d{3} Backend\[1\]: weights loaded\n", dynamo("logs", "Backend[1]", "--times")
    )
    assert dynamo("logs", "Backend", "--level", "error") == ""
    assert "'loud' is not a level" in dynamo("logs", "--level", "loud", status=1)
    coloured = terminal("logs", "Backend", colours=True)
    coloured.expect(r"\x1b\[36mBackend\[0\]:\x1b\[0m weights loaded\r\n\x1b\[33mBackend\[1\]:\x1b\[0m weights loaded")

    assert dynamo("stop", name) == f"stopped {name}\n"
    ended(follower)
    assert folders(dynamo_home) == []
    assert "nothing is being served" in dynamo("stop", status=1)


def test_a_dry_run_shows_the_plan_and_starts_no_process(dynamo, dynamo_home, monkeypatch):
    monkeypatch.setenv("DYNAMO_GPUS", "0,1")

    shown = dynamo("serve", "program:Frontend", "--dry-run", "--Backend.ServiceArgs.resources.gpu=1")

    head, _, rest = shown.partition("\n")
    assert head == "Service Configuration:"
    configuration, _ = json.JSONDecoder().raw_decode(rest)
    assert configuration["Backend"]["ServiceArgs"]["workers"] == 2
    assert configuration["Backend"]["ServiceArgs"]["resources"]["gpu"] == 1
    assert "Placement: 2 GPU needed; on this machine: 0, 1" in rest
    assert folders(dynamo_home) == []


def test_a_dry_run_of_what_cannot_be_placed_has_the_exit_status_of_an_error(dynamo, dynamo_home, monkeypatch):
    monkeypatch.setenv("DYNAMO_GPUS", "0,1")

    shown = dynamo("serve", "program:Frontend", "--dry-run", "--Backend.ServiceArgs.resources.gpu=2", status=1)

    assert "Backend.1 needs 2 GPU, and 0 can be allocated" in shown


def test_the_configuration_is_shown_with_its_origins_and_as_json(dynamo, program):
    program.write("config.yaml", "Backend:\n  suffix: from yaml\n")

    table = dynamo("config", "program:Frontend", "-f", "config.yaml", "--Backend.ServiceArgs.workers", "5")
    values = json.loads(dynamo("config", "program:Frontend", "-f", "config.yaml", "--json"))

    assert re.search(r"Backend\.suffix .*from yaml.*config\.yaml", table)
    assert re.search(r"Backend\.ServiceArgs\.workers +5 +--Backend\.ServiceArgs\.workers", table)
    assert values["Backend"]["suffix"] == "from yaml"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "Frontend"),
        (["--format", "svg"], "<svg"),
        (["--format", "dot"], "digraph"),
    ],
)
def test_a_graph_is_drawn(dynamo, words, text):
    shown = dynamo("graph", "program:Frontend", *words)

    assert text in shown
    assert "Backend" in shown


def test_a_graph_is_written_to_a_file_and_its_schema_printed(dynamo, program):
    dynamo("graph", "program:Frontend", "--format", "svg", "-o", "graph.svg")

    assert "<svg" in (program.folder / "graph.svg").read_text()
    assert "services" in json.loads(dynamo("graph", "--schema"))["properties"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["serve", "program:Frontnd"], "Frontend"),
        (["serve", "nothing_here"], "module 'nothing_here' not found"),
        (["serve", "program:Frontend", "--Backnd.suffix=!"], "Backend"),
        (["serve", "program:Frontend", "--bogus"], "--bogus"),
        (["srve"], "srve"),
        (["scale", "Backend"], "Backend=4 means four workers"),
    ],
)
def test_a_typing_error_is_reported_with_a_suggestion(dynamo, words, text):
    shown = dynamo(*words, status=1)

    assert shown.startswith("error: ")
    assert text in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("text", "error", "line"),
    [
        (
            "import os\nimport not_installed\n",
            "ModuleNotFoundError: No module named 'not_installed'",
            "2: import not_installed",
        ),
        ("def f(:\n", "SyntaxError: invalid syntax", "1: def f(:"),
        ("TOP = {}['key']\n", "KeyError: 'key'", "1: TOP = {}['key']"),
    ],
)
def test_an_error_of_an_import_is_shown_with_its_line(dynamo, program, text, error, line):
    program.write("broken.py", text)

    shown = dynamo("serve", "broken.py", status=1)

    assert shown == f"error: broken cannot be imported: {error}\n  where: {program.folder / 'broken.py'}, line {line}\n"


def test_clean_removes_the_folder_of_a_killed_supervisor(terminal, dynamo, dynamo_home):
    child = terminal("serve", "program:Frontend", "--port", "0", "--no-kernels")
    child.expect_exact("weights loaded")
    (record,) = records()

    os.kill(record.supervisor.pid, signal.SIGKILL)

    ended(child, status=1)
    assert "left by a crash" in dynamo("ps")
    assert dynamo("clean") == f"removed {record.id}\n"
    assert folders(dynamo_home) == []


def test_serve_ends_when_another_process_stops_the_deployment(terminal, dynamo):
    child = terminal("serve", "program:Frontend", "--port", "0", "--no-kernels")
    child.expect_exact("weights loaded")

    dynamo("stop")

    assert "the deployment was stopped by another process" in ended(child, status=1)


def test_a_killed_serve_leaves_no_process(terminal, dynamo_home):
    child = terminal("serve", "program:Frontend", "--port", "0")
    child.expect_exact("weights loaded")
    (record,) = records()

    os.kill(child.pid, signal.SIGKILL)

    until(lambda: not any(map(alive, [record.supervisor.pid, *(p.pid for p in record.processes)])), 5)
    assert folders(dynamo_home) == []


def test_separate_commands_serve_the_services_of_one_graph_on_one_nats(terminal, nats):
    one_namespace = ["--nats", nats, "--namespace", "apart", "--no-kernels", "--port", "0"]
    backend = terminal("serve", "program:Frontend", "--service-name", "Backend", "--Backend.suffix=!", *one_namespace)
    backend.expect_exact("weights loaded")
    frontend = terminal("serve", "program:Frontend", "--service-name", "Frontend", *one_namespace)
    frontend.expect(r"Frontend +ready +1/1 workers")

    assert portal.run(_say(nats, "apart")) == "hello!"
    for child in (frontend, backend):
        child.sendintr()
        assert "stopped" in ended(child)


def test_two_copies_of_a_graph_run_side_by_side_on_one_nats(terminal, nats):
    copies = {}
    for name in ("blue", "green"):
        words = ["--nats", nats, "--namespace", name, f"--Backend.suffix={name}", "--no-kernels", "--port", "0"]
        copies[name] = terminal("serve", "program:Frontend", *words)
    for child in copies.values():
        child.expect(r"Frontend +ready +1/1 workers")

    assert [portal.run(_say(nats, name)) for name in copies] == ["helloblue", "hellogreen"]
    for child in copies.values():
        child.sendintr()
    for child in copies.values():
        ended(child)


async def _say(url, namespace):
    runtime = await DistributedRuntime.connect(url)
    try:
        client = await runtime.namespace(namespace).component("Frontend").endpoint("say").client()
        await client.wait_for_instances(timeout=BOUND)
        return await client.call(["hello"])
    finally:
        await runtime.close()


def test_serving_a_file_with_http_endpoints_prints_its_url(terminal, program):
    program.write("pages.py", PAGES)
    child = terminal("serve", "pages.py", "--port", "0", "--no-kernels")
    child.expect(r"(http://127\.0\.0\.1:\d+)")
    url = child.match[1]

    body = json.dumps({"text": "hello"}).encode()
    request = urllib.request.Request(f"{url}/say", data=body, headers={"content-type": "application/json"})
    with urllib.request.urlopen(request) as response:
        assert json.load(response) == "hello"

    child.kill(signal.SIGTERM)
    assert "stopped" in ended(child)


PAGES = """
from dynamo_nb import dynamo_api, service


@service
class Page:
    @dynamo_api()
    async def say(self, text: str) -> str:
        return text
"""
