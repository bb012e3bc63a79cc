"""`dynamo serve` in a terminal, from pressing the key to the first answer over HTTP."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from place import own_home, tell

PATIENCE = 60
BETWEEN = 0.01  # seconds between attempts


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port):
    body = json.dumps({"text": "hello"}).encode()
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/say", body, headers)
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.loads(answer.read())


def run(folder):
    port = free_port()
    log = folder / "output"
    with log.open("wb") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            [Path(sys.executable).parent / "dynamo", "serve", "hello_graph.py:Frontend", "--port", str(port)],
            cwd=Path(__file__).parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            while True:
                try:
                    answer = ask(port)
                    break
                except (urllib.error.URLError, ConnectionError):
                    if process.poll() is not None or time.perf_counter() - start > PATIENCE:
                        raise RuntimeError(log.read_text()) from None
                    time.sleep(BETWEEN)
            took = time.perf_counter() - start
            assert answer == "hello-front-mid-back"
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return took


if __name__ == "__main__":
    with own_home() as folder:
        tell({"seconds": run(folder)})
