"""The imports of the fork server."""

import subprocess
import sys

from dynamo_nb.runtime.nats_server import find_binary

WEBSOCKETS = """
import dynamo_nb.supervisor.preload

import asyncio, sys
from nats.aio.client import Client

before = "aiohttp" in sys.modules

async def round_trip():
    nats = Client()
    await nats.connect(sys.argv[1])
    await nats.flush()
    await nats.close()

asyncio.run(round_trip())
print(before, "aiohttp" in sys.modules)
"""
BOUND = 30
CONFIG = 'listen: "127.0.0.1:-1"\nwebsocket { listen: "127.0.0.1:-1", no_tls: true }\n'


def test_the_websocket_library_of_nats_is_imported_at_its_first_use(tmp_path):
    config = tmp_path / "nats.conf"
    config.write_text(CONFIG)
    with subprocess.Popen([find_binary(), "-c", config], stderr=subprocess.PIPE, text=True) as server:
        try:
            url = next(line.split()[-1] for line in server.stderr if "Listening for websocket clients" in line)
            command = [sys.executable, "-c", WEBSOCKETS, url]
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=BOUND)
        finally:
            server.terminate()
            server.stderr.read()

    assert done.stdout.split() == ["False", "True"]
