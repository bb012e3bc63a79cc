"""The graph that loads are put on."""

PROGRAM = """
import asyncio
from pathlib import Path

from dynamo_nb import depends, dynamo_endpoint, service


@service(workers=2)
class Backend:
    @dynamo_endpoint()
    async def say(self, text: str, times: int = 1) -> str:
        if text == "bad":
            raise ValueError("no such word")
        return text * times

    @dynamo_endpoint()
    async def hold(self, gate: str) -> None:
        Path(gate + ".held").touch()
        while not Path(gate).exists():
            await asyncio.sleep(0.01)

    @dynamo_endpoint()
    async def count(self, upto: int):
        for number in range(upto):
            yield number

    @dynamo_endpoint()
    async def echo(self, message: dict) -> dict:
        return message

    @dynamo_endpoint()
    async def nothing(self) -> None:
        pass


@service
class Frontend:
    backend = depends(Backend)

    @dynamo_endpoint()
    async def say(self, text: str) -> str:
        return await self.backend.say(text)
"""
