"""Several deployments of one graph on one machine."""

import asyncio
import json
import os
import socket

import pytest
from deployed_program import alive, folders, pids

from dynamo_nb import attach
from dynamo_nb.cli.main import run
from dynamo_nb.cli.terminal_host import TerminalHost
from dynamo_nb.control import state_dir
from dynamo_nb.control.record import records
from dynamo_nb.errors import PlacementError
from dynamo_nb.runtime import DistributedRuntime, NatsServer

pytestmark = pytest.mark.slow

PAGES = """
from dynamo_nb import dynamo_api, service


@service
class Page:
    @dynamo_api()
    async def say(self, text: str) -> str:
        return text
"""


@pytest.fixture
async def nats(tmp_path):
    server = NatsServer()
    await server.start(tmp_path / "nats")
    yield server.url
    await server.stop()


async def test_deployments_on_one_nats_call_their_own_workers(program, nats):
    async with (
        await program.serve("program:Frontend", args=["--Backend.suffix=a"], nats=nats) as one,
        await program.serve("program:Frontend", args=["--Backend.suffix=b"], nats=nats) as two,
    ):
        answers = await asyncio.gather(*(d.Frontend.say("x") for d in (one, two) * 10))
        direct = await asyncio.gather(*(d.Backend.say("x") for d in (one, two) * 10))
        assert answers == direct == ["xa", "xb"] * 10
        assert all([d.Backend.say("x").result() for d in (one, two)] == ["xa", "xb"] for _ in range(4))

        runtime = await DistributedRuntime.connect(nats)
        client = await runtime.namespace("default").component("Backend").endpoint("say").client()
        assert len(await client.wait_for_instances(timeout=10, count=4)) == 4, (
            "a client that belongs to neither deployment finds all workers"
        )
        await runtime.close()


async def test_every_deployment_of_the_namespace_calls_a_service_that_is_served_alone(program, nats):
    async with (
        await program.serve("program:Frontend", args=["--Backend.suffix=a"], nats=nats) as whole,
        await program.serve("program:Frontend", args=["--Backend.suffix=b"], only="Backend", nats=nats) as part,
    ):
        answers = {await whole.Frontend.say("x") for _ in range(12)}
        assert answers == {"xa", "xb"}
        assert {await part.Backend.say("x") for _ in range(12)} == {"xb"}


async def test_a_second_deployment_takes_the_next_port_with_a_warning(program, dynamo_home, monkeypatch):
    monkeypatch.delenv("DYNAMO_PORT", raising=False)
    program.write("pages.py", PAGES)
    with socket.socket() as in_use:
        in_use.bind(("127.0.0.1", 0))
        in_use.listen()
        port = in_use.getsockname()[1]
        monkeypatch.setattr("dynamo_nb.deployment.serve_options.HTTP_PORT", port)
        async with await program.serve("pages:Page", http_port=None) as deployment:
            found = int(deployment.urls["Page"].rpartition(":")[2])
            assert found > port
            (warning,) = deployment.warnings
            assert warning == f"port {port} is in use by process {os.getpid()} (python): Page listens on {found}"
        with pytest.raises(PlacementError, match=f"port {port} is in use"):
            await program.serve("pages:Page", http_port=port)


async def test_a_deployment_is_listed_with_its_owner_and_clients(program, dynamo_home, capsys):
    async with await program.serve("program:Frontend") as deployment:
        run(["ps", "--json"], TerminalHost())
        (listed,) = json.loads(capsys.readouterr().out)
        assert (listed["id"], listed["owner"]["pid"]) == (deployment.id, os.getpid())
        assert listed["owner"]["alive"]
        assert listed["services"]["Backend"] == {"state": "ready", "ready": 2, "desired": 2, "gpus": [], "url": ""}

        await deployment.detach()

        run(["ps"], TerminalHost())
        row = capsys.readouterr().out.splitlines()[1]
        assert row.split()[1] == "detached,"
        assert not deployment.owned
        assert "attached here" in row
        attached = await attach()
        assert await attached.Frontend.say("x") == "x"
        assert attached.spec == deployment.spec


async def test_only_update_reads_a_changed_module_again(program, dynamo_home):
    async with await program.serve("program:Frontend", args=["--Backend.suffix=a"]) as deployment:
        before = deployment.export(program.folder / "before")
        text = (program.folder / "program.py").read_text()
        attached = await attach(deployment.id)
        (program.folder / "program.py").write_text(text.replace("text + self.suffix", "self.suffix + text"))

        after = attached.export(program.folder / "after")
        assert attached.config.rows() == deployment.config.rows()
        assert _contents(before) == _contents(after)
        assert not await attached.follow()
        frontend = pids(attached, "Frontend")

        await attached.update()

        assert await attached.Frontend.say("x") == "ax"
        assert pids(attached, "Frontend") != frontend, "both services are in the file"


def _contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_clean_lists_what_it_killed_and_leaves_living_deployments(program, dynamo_home, capsys):
    async with await program.serve("program:Frontend") as living:
        crashed = await program.serve("program:Frontend")
        record = next(r for r in records() if r.id == crashed.id)
        workers = [process.pid for process in record.processes]
        for pid in workers:
            os.kill(pid, 19)  # stopped, so that they do not notice the end of their supervisor
        os.kill(record.supervisor.pid, 9)
        await record.supervisor.ended()
        unstarted = dynamo_home / "unstarted-00000000"
        (unstarted / "sockets").mkdir(parents=True)
        fresh = state_dir.new_folder("fresh")

        run(["clean"], TerminalHost())

        shown = capsys.readouterr().out
        assert f"removed {crashed.id}\n" in shown
        assert "removed unstarted-00000000, which never started to serve\n" in shown
        assert all(f"process {pid}" in shown for pid in workers)
        assert living.id not in shown
        assert not any(map(alive, workers))
        assert {path.name for path in folders(dynamo_home)} == {living.id, fresh.name}
        assert await living.Frontend.say("x") == "x"
