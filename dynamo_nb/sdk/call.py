"""A call of an endpoint: awaited it gives the answer, iterated it gives the items, and `.result()` needs neither.

The same object stands for a call in this process and for one to a worker, so that code reads the same in a unit test
and in a deployment. Nothing happens until it is awaited or iterated.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, Self, TypeVar, get_args

from dynamo_nb.errors import DeadlineExceeded, InvalidArgument, suggestion
from dynamo_nb.sdk.portal import portal

T = TypeVar("T")
PolicyName = Literal["round_robin", "random", "least_loaded", "affinity"]


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How a call is made, beside its arguments; see `Call.using`."""

    timeout: float | None = None
    key: str | None = None
    instance_id: int | None = None
    headers: Mapping[str, str] | None = None
    policy: Any = None

    def __post_init__(self) -> None:
        wrong = ""
        if self.timeout is not None and not is_duration(self.timeout):
            wrong = f"timeout={self.timeout!r} is no number of seconds"
        elif self.key is not None and not isinstance(self.key, str):
            wrong = f"key={self.key!r} is no text"
        elif self.instance_id is not None and not isinstance(self.instance_id, int):
            wrong = f"instance_id={self.instance_id!r} is no number"
        elif not (self.policy is None or self.policy in get_args(PolicyName) or hasattr(self.policy, "pick")):
            wrong = f"policy={self.policy!r} is no policy: known are {', '.join(get_args(PolicyName))}"
        if wrong:
            raise InvalidArgument(f"a call cannot be made so: {wrong}", where="using(…)")


PLAIN = CallOptions()


def is_duration(seconds: Any) -> bool:
    """Whether it is a number of seconds that can pass."""
    return isinstance(seconds, int | float) and not isinstance(seconds, bool) and math.isfinite(seconds)


class Call(Generic[T]):
    """A call of an endpoint.

    `await call` gives the one answer, or the list of a stream's items. `async for item in call` gives the items, or
    the one answer as one item. `call.result(timeout)` does what `await` does, from code that cannot await, and
    `for item in call` what `async for` does.
    Leaving the loop early (`break`, or cancelling the task that awaits) stops the work at the other end.
    """

    options: CallOptions = PLAIN

    def using(self, **options: Any) -> Self:
        """The same call, made in another way: `await self.backend.generate(text).using(timeout=2, key=session)`.

        timeout: seconds for the whole answer, which otherwise ends with DeadlineExceeded, at the worker too.
        key: what this call has in common with others that shall go to the same worker, such as a session's name.
        instance_id: the worker's instance that shall answer, and no other. headers: text that travels along.
        policy: chooses the worker instead of the dependency's own. In this process only the timeout means something.
        """
        if unknown := [name for name in options if name not in CallOptions.__slots__]:
            raise InvalidArgument(
                f"a call has no option {unknown[0]!r}",
                where="using(…)",
                remedy=suggestion(unknown[0], CallOptions.__slots__),
            )
        other = copy(self)
        other.options = replace(self.options, **options)
        return other

    def __await__(self) -> Generator[Any, None, T]:
        raise NotImplementedError

    def __aiter__(self) -> AsyncIterator[Any]:
        raise NotImplementedError

    def __iter__(self) -> Iterator[Any]:
        """The items as they come, from code that cannot await: `for item in call`."""
        end = object()

        async def begin() -> AsyncIterator[Any]:
            return aiter(self)

        async def following() -> Any:
            return await anext(items, end)

        async def close() -> None:
            if hasattr(items, "aclose"):
                await items.aclose()

        items = portal.run(begin())
        try:
            while (item := portal.run(following())) is not end:
                yield item
        finally:  # not waited for: the portal's own thread may be the one that throws an unfinished loop away
            asyncio.run_coroutine_threadsafe(close(), portal.loop)

    def __repr__(self) -> str:
        return "<a call, not begun: await it, iterate it, or take its `.result()`>"

    def result(self, timeout: float | None = None) -> T:
        async def wait() -> T:
            return await self

        return portal.run(wait(), timeout)


class LocalCall(Call[T]):
    """A call of an endpoint's own function, in this process.

    start: begins the work, giving an async iterator (a stream), a coroutine (one answer), or the answer itself.
    receive: what the caller gets for each answer or item.
    """

    def __init__(self, start: Callable[[], Any], receive: Callable[[Any], Any] = lambda value: value) -> None:
        self._start, self._receive = start, receive

    async def _answer(self) -> Any:
        async with _in_time(self.options.timeout):
            started = self._start()
            if hasattr(started, "__aiter__"):
                return [self._receive(item) async for item in started]
            return self._receive(await started if inspect.isawaitable(started) else started)

    def __await__(self) -> Generator[Any, None, T]:
        return self._answer().__await__()

    async def _items(self) -> AsyncIterator[Any]:
        end = None if self.options.timeout is None else time.monotonic() + self.options.timeout
        started = self._start()
        if not hasattr(started, "__aiter__"):
            async with _in_time(self.options.timeout):
                answer = self._receive(await started if inspect.isawaitable(started) else started)
            yield answer
            return
        items = aiter(started)
        try:
            while True:
                try:
                    async with _in_time(None if end is None else end - time.monotonic()):
                        item = self._receive(await anext(items))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            if hasattr(started, "aclose"):
                await started.aclose()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._items()


@asynccontextmanager
async def _in_time(seconds: float | None) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise  # the endpoint's own
        raise DeadlineExceeded(
            "the endpoint did not answer in the time that the call had", remedy="allow more time"
        ) from None
