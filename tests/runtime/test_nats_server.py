import asyncio
import os
import socket
import subprocess
import sys
import textwrap

import pytest

from dynamo_nb.errors import ConnectError, StartError
from dynamo_nb.runtime import DistributedRuntime, NatsServer
from dynamo_nb.runtime.nats_server import find_binary


async def test_the_server_listens_on_the_loopback_with_a_token_and_stops(tmp_path):
    server = NatsServer()
    await server.start(tmp_path)
    host, port = server.url.partition("@")[2].split(":")
    assert server.url.startswith("nats://")
    assert host == "127.0.0.1"
    assert (tmp_path / "nats.conf").stat().st_mode & 0o077 == 0
    runtime = await DistributedRuntime.connect(server.url)
    assert runtime.nats.max_payload >= 8_000_000
    await runtime.close()
    with pytest.raises(ConnectError, match=r"(?i)authorization") as caught:
        await DistributedRuntime.connect(f"nats://wrong@{host}:{port}")
    assert "wrong" not in str(caught.value)
    await server.stop()
    assert not server.running
    with pytest.raises(ConnectError, match="does not answer"):
        await DistributedRuntime.connect(server.url)


async def test_the_server_ends_with_its_parent(tmp_path, wait_for_exit):
    program = textwrap.dedent("""
        import asyncio, sys
        from pathlib import Path
        from dynamo_nb.runtime import NatsServer

        async def main():
            server = NatsServer()
            await server.start(Path(sys.argv[1]))
            print(server.pid, server.url, flush=True)
            await asyncio.Event().wait()

        asyncio.run(main())
    """)
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    pid, url = (await parent.stdout.readline()).decode().split()
    os.kill(int(pid), 0)
    await (await DistributedRuntime.connect(url)).close()
    parent.kill()
    await parent.wait()
    async with asyncio.timeout(30):
        await wait_for_exit(int(pid))


async def test_the_error_of_a_server_that_cannot_start_has_its_log(tmp_path):
    (tmp_path / "jetstream").write_text("a file where a folder must be")
    with pytest.raises(StartError, match=r"(?s)did not start.*last lines of its log"):
        await NatsServer().start(tmp_path)


async def test_a_server_that_does_not_answer_is_a_connect_error():
    async def silent(reader, writer):
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with asyncio.timeout(6):
        with pytest.raises(ConnectError, match=f"nats://127.0.0.1:{port} does not answer") as caught:
            await DistributedRuntime.connect(f"nats://secret@127.0.0.1:{port}")
    assert "secret" not in str(caught.value)
    assert caught.value.remedy
    listening.close()
    await listening.wait_closed()


async def test_a_refused_connection_is_an_error_at_once():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        with pytest.raises(ConnectError, match=f"nats://127.0.0.1:{port}"):
            await DistributedRuntime.connect(f"nats://127.0.0.1:{port}")


async def test_the_error_without_jetstream_names_it(space):
    process = subprocess.Popen(  # noqa: ASYNC220
        [find_binary(), "-a", "127.0.0.1", "-p", "-1"], stderr=subprocess.PIPE
    )
    try:
        port = next(line.split(b":")[-1] for line in process.stderr if b"Listening for client" in line).decode().strip()
        runtime = await DistributedRuntime.connect(f"nats://127.0.0.1:{port}", lease=0.5)
        with pytest.raises(ConnectError, match="JetStream"):
            await runtime.namespace(space).component("C").serve({})
        with pytest.raises(ConnectError, match="JetStream"):
            await runtime.namespace(space).component("C").endpoint("generate").client()
        await runtime.close()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
