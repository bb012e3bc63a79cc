"""A client of a frontend on plain sockets, and the answers that an echo worker must give."""

import asyncio
import json
import socket
import struct
from contextlib import asynccontextmanager
from functools import cache
from urllib.parse import urlsplit

from dynamo_nb.llm.text.tokenizer import Tokenizer
from dynamo_nb.llm.tiny import tiny_model

CHAT, COMPLETION, EMBEDDING = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"


@cache
def echoed(prompt, count):
    """The text of the first `count` tokens of the answer to a prompt, and the number of tokens of the prompt."""
    tokenizer = Tokenizer(str(tiny_model()))
    tokens = tokenizer.encode(prompt)
    return tokenizer.decode([tokens[n % len(tokens)] for n in range(count)]), len(tokens)


class HttpRequest:
    """One request on its own connection."""

    def __init__(self, reader, writer):
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, url, path, body, share=1.0, method="POST"):
        """share: how much of the body is sent, 0 to 1."""
        address = urlsplit(url)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        head = f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(data)}\r\n\r\n"
        writer.write(head.encode() + data[: int(share * len(data))])
        await writer.drain()
        return cls(reader, writer)

    async def head(self):
        """(status, headers)."""
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        return int(lines[0].split()[1]), dict(line.lower().split(": ", 1) for line in lines[1:] if line)

    async def text(self):
        """The body of an answer."""
        await self.head()
        return (await self._reader.read()).decode()

    async def answer(self):
        """(status, headers, the body as JSON)."""
        status, headers = await self.head()
        return status, headers, json.loads(await self._reader.read())

    async def events(self):
        """The events of a stream including "[DONE]"; checks that the stream ends after an event."""
        rest = b""
        while size := int(await self._reader.readline(), 16):
            rest += await self._reader.readexactly(size)
            await self._reader.readline()
            *events, rest = rest.split(b"\n\n")
            for event in events:
                content = event.removeprefix(b"data: ").decode()
                yield content if content == "[DONE]" else json.loads(content)
        assert rest == b""

    def close(self):
        self._writer.close()

    def reset(self):
        """Closes the connection with a TCP reset: data on its way to this client is refused."""
        linger = struct.pack("ii", 1, 0)
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.transport.abort()


@asynccontextmanager
async def open_request(url, path, body, share=1.0, method="POST"):
    request = await HttpRequest.open(url, path, body, share, method)
    try:
        yield request
    finally:
        request.close()


async def send(url, path, body, method="POST"):
    async with open_request(url, path, body, method=method) as request:
        return await request.answer()


class ClientAnswer:
    """The answer to POST /v1/completions as a client receives it. count: events so far."""

    def __init__(self, url, body):
        self.body, self.n, self.count = body, body.get("n", 1), 0
        self._is_stream, self._changed = body.get("stream", False), asyncio.Event()
        self.task = asyncio.create_task(self._read(url, body))
        self.task.add_done_callback(lambda _: self._changed.set())

    async def _read(self, url, body):
        async with open_request(url, COMPLETION, body) as request:
            if not self._is_stream:
                return await request.answer()
            status, _ = await request.head()
            assert status == 200, await request.text()
            events = []
            async for event in request.events():
                events.append(event)
                self.count += 1
                self._changed.set()
            return events

    async def wait_for_events(self, count):
        """Returns when so many events have arrived, or the answer has ended."""
        while self.count < count and not self.task.done():
            self._changed.clear()
            await self._changed.wait()

    async def check_complete(self):
        """Checks that the answer equals an undisturbed one; returns its id."""
        count = self.body["max_tokens"]
        text, prompt = echoed(self.body["prompt"], count)
        if not self._is_stream:
            status, _, answer = await self.task
            assert status == 200
            texts = [choice["text"] for choice in answer["choices"]]
            finishes = [choice["finish_reason"] for choice in answer["choices"]]
            answer_id, usage = answer["id"], answer["usage"]
        else:
            *events, last, end = await self.task
            assert (end, last["choices"]) == ("[DONE]", [])
            texts, finishes = [""] * self.n, [None] * self.n
            for event in events:
                assert event["usage"] is None
                (choice,) = event["choices"]
                index = choice["index"]
                assert finishes[index] is None  # nothing comes after the end of a choice
                texts[index] += choice["text"]
                finishes[index] = choice["finish_reason"]
            ((answer_id, _),) = {(event["id"], event["created"]) for event in [*events, last]}
            usage = last["usage"]
        assert texts == [text] * self.n
        assert finishes == ["length"] * self.n
        assert usage["prompt_tokens"] == prompt
        assert usage["completion_tokens"] == count * self.n
        assert usage["total_tokens"] == prompt + count * self.n
        return answer_id
