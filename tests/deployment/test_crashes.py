"""Killed processes: within five seconds no process of their deployment runs, including those its workers started."""

import json
import os
import signal
import subprocess
import sys

import pytest
from deployed_program import alive, folders, until

from dynamo_nb.cli.main import run
from dynamo_nb.cli.terminal_host import TerminalHost
from dynamo_nb.control.record import records

pytestmark = pytest.mark.slow

BOUND = 5.0


@pytest.fixture
def started(owner_script):
    """Starts a process that owns a deployment. Returns it and what it printed."""
    processes = []

    def start(**config):
        process = subprocess.Popen(owner_script(**config), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        processes.append(process)
        printed = json.loads(process.stdout.readline())
        assert all(map(alive, printed["children"]))
        return process, printed

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def all_processes(printed):
    (record,) = records()
    assert record.alive
    return [printed["supervisor"], *printed["children"], *(process.pid for process in record.processes)]


def wait_until_ended(processes):
    until(lambda: not any(map(alive, processes)), BOUND)


def test_the_owner_is_killed(started, dynamo_home):
    process, printed = started()
    processes = all_processes(printed)

    process.kill()

    wait_until_ended(processes)
    assert folders(dynamo_home) == []


def test_the_owner_is_killed_while_a_worker_drains(started, dynamo_home, tmp_path):
    process, printed = started()
    processes = all_processes(printed)
    gate = tmp_path / "gate"
    blocked = subprocess.Popen([sys.executable, "-c", BLOCK, str(dynamo_home), str(gate)])
    until(gate.with_suffix(".held").exists)
    os.kill(printed["supervisor"], signal.SIGTERM)

    process.kill()

    wait_until_ended(processes)
    blocked.wait()


def test_the_supervisor_is_killed(started, dynamo_home, capsys):
    _, printed = started()
    processes = all_processes(printed)

    os.kill(printed["supervisor"], signal.SIGKILL)

    wait_until_ended(processes)
    assert len(folders(dynamo_home)) == 1
    run(["ps"], TerminalHost())
    run(["clean"], TerminalHost())
    run(["clean"], TerminalHost())
    shown = capsys.readouterr().out
    assert "left by a crash; `dynamo clean` removes it" in shown
    assert shown.endswith("nothing to clean up\n")
    assert folders(dynamo_home) == []


def test_the_supervisor_is_killed_while_a_workers_loop_is_blocked(started, dynamo_home, tmp_path):
    _, printed = started(**{"Backend.ServiceArgs.workers": 1})
    processes = all_processes(printed)
    gate = tmp_path / "gate"
    blocked = subprocess.Popen([sys.executable, "-c", BLOCK, str(dynamo_home), str(gate)])
    until(gate.with_suffix(".held").exists)

    os.kill(printed["supervisor"], signal.SIGKILL)

    wait_until_ended(processes)
    blocked.wait()


BLOCK = """
import asyncio, sys
from pathlib import Path
from dynamo_nb.control.client import ControlClient
from dynamo_nb.control.record import records
from dynamo_nb.errors import RequestError
from dynamo_nb.runtime import DistributedRuntime

async def main():
    (record,) = records()
    control = await ControlClient.connect(record.control)
    runtime = await DistributedRuntime.connect(**await control.request("access"))
    client = await runtime.namespace("default").component("Backend").endpoint("block").client()
    await client.wait_for_instances()
    try:
        await client.call([sys.argv[2]])
    except RequestError:
        pass

asyncio.run(main())
"""


NOTEBOOK = """
import json
from pathlib import Path

from dynamo_nb import serve
from program import Frontend

deployment = serve(Frontend, http_port=0).result()
children = deployment.Backend.start_children().result()
printed = json.dumps({"supervisor": deployment.status.pid, "children": children})
Path("printed.new").write_text(printed)
Path("printed.new").rename("printed.json")
"""


def test_the_notebooks_kernel_is_killed(program, dynamo_home):
    from jupyter_client import KernelManager

    kernel = KernelManager(transport="ipc", ip=str(dynamo_home / "k"))
    kernel.transport_encryption = "disabled"
    kernel.start_kernel(cwd=program.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client = kernel.client()
        client.start_channels()
        client.execute(NOTEBOOK)
        printed = json.loads(until(lambda: _read(program.folder / "printed.json"), 60))
        client.stop_channels()
        processes = all_processes(printed)
        os.kill(kernel.provisioner.pid, signal.SIGKILL)
        wait_until_ended(processes)
    finally:
        kernel.shutdown_kernel(now=True)
    until(lambda: [path for path in folders(dynamo_home) if path.is_dir()] == [])


def test_a_papermill_run_is_killed(program, dynamo_home):
    import nbformat

    cells = [nbformat.v4.new_code_cell(text) for text in (NOTEBOOK, "import time; time.sleep(1000)")]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), program.folder / "regression.ipynb")
    command = [sys.executable, "-m", "papermill", "regression.ipynb", "out.ipynb", "--no-progress-bar"]
    papermill = subprocess.Popen(
        command, cwd=program.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        printed = json.loads(until(lambda: _read(program.folder / "printed.json"), 60))
        processes = all_processes(printed)
    finally:
        papermill.kill()
        papermill.wait()
    wait_until_ended(processes)


def _read(path):
    return path.read_text() if path.exists() else ""
