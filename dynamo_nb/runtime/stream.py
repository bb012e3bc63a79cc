"""What comes back of a stream, item by item."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from dynamo_nb.runtime.connection import Grant, Inbox

if TYPE_CHECKING:
    from dynamo_nb.runtime.attempts import Exchange
    from dynamo_nb.runtime.client import RemoteCall


class Items(AsyncIterator[Any]):
    """The items of one call, as they arrive. The worker is told to stop when this is closed, or dropped."""

    __slots__ = ("_exchange", "_inbox")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._inbox: Inbox | None = None

    async def begin(self) -> None:
        try:
            self._inbox = await self._exchange.open()
        except BaseException as error:
            self._exchange.end(error)
            raise

    async def __anext__(self) -> Any:
        inbox = self._inbox
        try:
            while True:
                if inbox is None:
                    inbox = self._inbox = await self._exchange.open()
                if inbox.items:
                    item = inbox.items.popleft()
                    if item.__class__ is Grant:
                        inbox.allow(item)
                        continue
                    receive = self._exchange.receive
                    return item if receive is None else receive(item)
                if not inbox.done:
                    await inbox.wait()
                elif (error := inbox.error) is None:
                    raise StopAsyncIteration
                elif self._exchange.again(inbox):
                    inbox = None
                else:
                    raise error
        except BaseException as error:
            if inbox is not None:
                inbox.close()
            self._exchange.end(error)
            raise

    @property
    def arrived(self) -> bool:
        """Whether what comes next, an item or the end, is here already, so that taking it does not wait."""
        if (inbox := self._inbox) is None:
            return False
        if inbox.done:
            return True
        return len(inbox.items) > 1 or (bool(inbox.items) and inbox.items[0].__class__ is not Grant)

    async def aclose(self) -> None:
        """Stops the work at the worker."""
        self._close()

    def _close(self) -> None:
        if self._inbox is not None:
            self._inbox.close()
        self._exchange.end(GeneratorExit())

    def __del__(self) -> None:
        self._close()


class DistantItems(Items):
    """The items of a call whose connection lives on another event loop."""

    __slots__ = ("_home", "_items")

    def __init__(self, items: Items, home: asyncio.AbstractEventLoop) -> None:
        super().__init__(items._exchange)
        self._items, self._home = items, home

    async def __anext__(self) -> Any:
        async def following() -> tuple[Any, ...]:
            # StopAsyncIteration does not pass through a future.
            try:
                return (await self._items.__anext__(),)
            except StopAsyncIteration:
                return ()

        item = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(following(), self._home))
        if not item:
            raise StopAsyncIteration
        return item[0]

    async def begin(self) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._items.begin(), self._home))

    async def aclose(self) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._items.aclose(), self._home))


class Item:
    """One item of a stream, in upstream's shape."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def data(self) -> Any:
        return self._value

    def __repr__(self) -> str:
        return f"Item({self._value!r})"


class Stream(AsyncIterator[Item]):
    """The answer of `generate` and its like: `async for item in stream: item.data()`."""

    def __init__(self, call: RemoteCall[Any]) -> None:
        self._items = call.__aiter__()

    async def begin(self) -> Stream:
        await self._items.begin()
        return self

    async def __anext__(self) -> Item:
        return Item(await self._items.__anext__())

    async def aclose(self) -> None:
        await self._items.aclose()
