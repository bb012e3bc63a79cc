"""Plain sockets that ask a frontend over HTTP, and what a worker that echoes has to answer."""

import asyncio
import json
import socket
import struct
from contextlib import asynccontextmanager
from functools import cache
from urllib.parse import urlsplit

from dynamo_nb.llm.text.tokens import Tokenizer
from dynamo_nb.llm.tiny_model import tiny_model

CHAT, COMPLETION, EMBEDDING = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"


@cache
def echoed(prompt, count):
    """The text of the first tokens of the answer to a prompt, and how many tokens the prompt has."""
    tokenizer = Tokenizer(str(tiny_model()))
    tokens = tokenizer.encode(prompt)
    return tokenizer.decode([tokens[n % len(tokens)] for n in range(count)]), len(tokens)


class Asking:
    """One request on a connection of its own."""

    def __init__(self, reader, writer):
        self._reader, self._writer = reader, writer

    @classmethod
    async def begin(cls, url, path, body, share=1.0, method="POST"):
        """share: of the body that is sent at all."""
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
        """The events of a stream, "[DONE]" too, to its very end."""
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
        """Goes away without a farewell: what is on its way to here is refused."""
        linger = struct.pack("ii", 1, 0)
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.transport.abort()


@asynccontextmanager
async def asking(url, path, body, share=1.0, method="POST"):
    request = await Asking.begin(url, path, body, share, method)
    try:
        yield request
    finally:
        request.close()


async def ask(url, path, body, method="POST"):
    async with asking(url, path, body, method=method) as request:
        return await request.answer()


class Told:
    """What a client is told of an answer to POST /v1/completions, as it comes. count: of events."""

    def __init__(self, url, body):
        self.body, self.n, self.count = body, body.get("n", 1), 0
        self._streamed, self._news = body.get("stream", False), asyncio.Event()
        self.task = asyncio.create_task(self._read(url, body))
        self.task.add_done_callback(lambda _: self._news.set())

    async def _read(self, url, body):
        async with asking(url, COMPLETION, body) as request:
            if not self._streamed:
                return await request.answer()
            status, _ = await request.head()
            assert status == 200, await request.text()
            events = []
            async for event in request.events():
                events.append(event)
                self.count += 1
                self._news.set()
            return events

    async def has(self, events):
        """Returns when it has been told so many, or all there are."""
        while self.count < events and not self.task.done():
            self._news.clear()
            await self._news.wait()

    async def whole(self):
        """The id of an answer which is what an undisturbed one is."""
        count = self.body["max_tokens"]
        text, prompt = echoed(self.body["prompt"], count)
        if not self._streamed:
            status, _, answer = await self.task
            assert status == 200
            texts = [choice["text"] for choice in answer["choices"]]
            finishes = [choice["finish_reason"] for choice in answer["choices"]]
            name, usage = answer["id"], answer["usage"]
        else:
            *events, last, end = await self.task
            assert (end, last["choices"]) == ("[DONE]", [])
            texts, finishes = [""] * self.n, [None] * self.n
            for event in events:
                assert event["usage"] is None
                (choice,) = event["choices"]
                at = choice["index"]
                assert finishes[at] is None  # of this choice nothing comes after its end
                texts[at] += choice["text"]
                finishes[at] = choice["finish_reason"]
            ((name, _),) = {(event["id"], event["created"]) for event in [*events, last]}
            usage = last["usage"]
        assert texts == [text] * self.n
        assert finishes == ["length"] * self.n
        assert usage["prompt_tokens"] == prompt
        assert usage["completion_tokens"] == count * self.n
        assert usage["total_tokens"] == prompt + count * self.n
        return name
