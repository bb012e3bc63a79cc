"""Tokens a second over SSE with 64 streams, one event for each token.

Usage: sse.py ours        Frontend, Processor and an EchoWorker at full speed, three processes
       sse.py fastapi     the events made where they are sent, one process
"""

import asyncio
import json
import selectors
import socket
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from place import child, own_home, tell

STREAMS, TOKENS = 64, 1000
MODEL = "fast"
PROMPT = "the quick brown fox jumps over the lazy dog "  # which is echoed: each of its tokens is a text to see
PATIENCE = 20  # seconds for the server to listen


def read_all(address, tokens):
    """Opens all streams at once and reads them to their end; gives the number of events."""
    body = json.dumps({"model": MODEL, "prompt": PROMPT, "stream": True, "max_tokens": tokens}).encode()
    head = b"POST /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
    request = head + b"content-length: %d\r\n\r\n" % len(body) + body
    events, open_ones = 0, selectors.DefaultSelector()
    for _ in range(STREAMS):
        stream = socket.create_connection(address)
        stream.sendall(request)
        open_ones.register(stream, selectors.EVENT_READ, [b""])
    while open_ones.get_map():
        for key, _ in open_ones.select():
            data = key.fileobj.recv(1 << 18)
            if not data:
                open_ones.unregister(key.fileobj)
                key.fileobj.close()
                continue
            rest = key.data[0] + data
            events += rest.count(b"data: ")
            key.data[0] = rest[-5:]  # a mark that was cut in two
    return events


def measure(address):
    read_all(address, 100)
    began = time.perf_counter()
    events = read_all(address, TOKENS)
    took = time.perf_counter() - began
    assert STREAMS * TOKENS <= events <= STREAMS * (TOKENS + 3), events
    tell({"tokens_per_s": STREAMS * TOKENS / took})


async def ours():
    from dynamo_nb import serve
    from dynamo_nb.llm import EchoWorker, Frontend, Processor

    Frontend.link(Processor).link(EchoWorker)
    async with await serve(Frontend, {"Processor.served_model_name": MODEL}, http_port=0) as deployment:
        url = urlsplit(deployment.urls["Frontend"])
        await asyncio.to_thread(measure, (url.hostname, url.port))


def fastapi():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    with child(str(Path(__file__).with_name("sse_fastapi.py")), str(address[1])):
        wait(address)
        measure(address)


def wait(address):
    end = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(address).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


if __name__ == "__main__":
    with own_home():
        asyncio.run(ours()) if sys.argv[1] == "ours" else fastapi()
