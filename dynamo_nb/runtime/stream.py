"""The items of a call, as they arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from dynamo_nb.runtime.attempts import Attempts
from dynamo_nb.runtime.inbox import CreditMarker, Inbox


class Items(AsyncIterator[Any]):
    """The items of one call. The request is cancelled when this is closed or garbage-collected."""

    __slots__ = ("_attempts", "_inbox")

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts
        self._inbox: Inbox | None = None

    async def begin(self) -> None:
        """Sends the request now instead of at the first item."""
        try:
            self._inbox = await self._attempts.open()
        except BaseException as error:
            self._attempts.end(error)
            raise

    async def __anext__(self) -> Any:
        inbox = self._inbox
        try:
            while True:
                if inbox is None:
                    inbox = self._inbox = await self._attempts.open()
                if inbox.items:
                    item = inbox.items.popleft()
                    if item.__class__ is CreditMarker:
                        inbox.send_credit(item)
                        continue
                    receive = self._attempts.receive
                    return item if receive is None else receive(item)
                if not inbox.done:
                    await inbox.wait()
                elif (error := inbox.error) is None:
                    raise StopAsyncIteration
                elif self._attempts.may_retry(inbox):
                    inbox = None
                else:
                    raise error
        except BaseException as error:
            if inbox is not None:
                inbox.close()
            self._attempts.end(error)
            raise

    @property
    def arrived(self) -> bool:
        """True if the next item, or the end, has arrived, so that `anext` does not wait."""
        if (inbox := self._inbox) is None:
            return False
        if inbox.done:
            return True
        return len(inbox.items) > 1 or (bool(inbox.items) and inbox.items[0].__class__ is not CreditMarker)

    async def aclose(self) -> None:
        """Cancels the request."""
        self._close()

    def _close(self) -> None:
        if self._inbox is not None:
            self._inbox.close()
        self._attempts.end(GeneratorExit())

    def __del__(self) -> None:
        self._close()


class OtherLoopItems(Items):
    """The items of a call whose connection lives on another event loop."""

    __slots__ = ("_items", "_loop")

    def __init__(self, items: Items, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(items._attempts)
        self._items, self._loop = items, loop

    async def __anext__(self) -> Any:
        async def following() -> tuple[Any, ...]:
            # StopAsyncIteration cannot be the result of a future.
            try:
                return (await self._items.__anext__(),)
            except StopAsyncIteration:
                return ()

        item = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(following(), self._loop))
        if not item:
            raise StopAsyncIteration
        return item[0]

    async def begin(self) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._items.begin(), self._loop))

    async def aclose(self) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._items.aclose(), self._loop))


class Item:
    """One item of a Stream, in the form of upstream's API."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def data(self) -> Any:
        """Returns the value."""
        return self._value

    def __repr__(self) -> str:
        return f"Item({self._value!r})"


class Stream(AsyncIterator[Item]):
    """The answer of `Client.generate`, in the form of upstream's API.

    Example:
        The items of one request::

            async for item in await client.generate(request):
                print(item.data())
    """

    def __init__(self, items: Items) -> None:
        self._items = items

    async def begin(self) -> Stream:
        """Sends the request now instead of at the first item."""
        await self._items.begin()
        return self

    async def __anext__(self) -> Item:
        return Item(await self._items.__anext__())

    async def aclose(self) -> None:
        """Cancels the request."""
        await self._items.aclose()
