"""Calls of endpoints: awaited for the answer, iterated for the items, or `.result()` where neither is possible.

Calls in this process and calls to workers have the same interface, so code is the same in a unit test and in a
deployment. The work starts when the call is awaited or iterated.
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
    """The options of a call; `Call.using` describes them."""

    timeout: float | None = None
    key: str | None = None
    instance_id: int | None = None
    headers: Mapping[str, str] | None = None
    policy: Any = None

    def __post_init__(self) -> None:
        wrong = ""
        if self.timeout is not None and not is_duration(self.timeout):
            wrong = f"timeout={self.timeout!r} is not a number of seconds"
        elif self.key is not None and not isinstance(self.key, str):
            wrong = f"key={self.key!r} is not text"
        elif self.instance_id is not None and not isinstance(self.instance_id, int):
            wrong = f"instance_id={self.instance_id!r} is not a number"
        elif not (self.policy is None or self.policy in get_args(PolicyName) or hasattr(self.policy, "pick")):
            wrong = f"policy={self.policy!r} is not a policy: known are {', '.join(get_args(PolicyName))}"
        if wrong:
            raise InvalidArgument(f"invalid option of a call: {wrong}", where="using(…)")


NO_OPTIONS = CallOptions()


def is_duration(seconds: Any) -> bool:
    """True if this is a finite number of seconds."""
    return isinstance(seconds, int | float) and not isinstance(seconds, bool) and math.isfinite(seconds)


class Call(Generic[T]):
    """A call of an endpoint. The work starts when the call is awaited or iterated.

    `await call` returns the answer, or the list of all items of a stream. `async for item in call` yields the items; a
    single answer is one item. `call.result(timeout)` and `for item in call` do the same in code that cannot await.
    Leaving the loop, or cancelling the task that awaits, cancels the work in the worker.

    Example:
        A stream, and a single answer::

            async for word in backend.generate("hello world"):
                print(word)
            total = await backend.count("hello world")
    """

    options: CallOptions = NO_OPTIONS

    def using(self, **options: Any) -> Self:
        """Returns the same call with other options. In this process, only `timeout` has an effect.

        Args:
            **options: Any of these; options that are left out stay as they are:

                - timeout: Seconds for the whole answer. After that the call raises `DeadlineExceeded`, and the work is
                  cancelled.
                - key: Text that is the same for all calls that should go to the same worker, such as a session id.
                - instance_id: The instance that must answer.
                - headers: Mapping of texts that is sent with the request.
                - policy: Chooses the worker, in place of the policy of the dependency; see `depends`.

        Returns:
            A new call; this one stays as it is.

        Raises:
            InvalidArgument: An option is unknown, or its value is invalid.

        Example:
            At most two seconds, in the worker of the session::

                answer = await self.backend.generate(text).using(timeout=2, key=session)
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
        """Yields the items as they arrive, in code that cannot await."""
        end = object()

        async def begin() -> AsyncIterator[Any]:
            return aiter(self)

        async def next_item() -> Any:
            return await anext(items, end)

        async def close() -> None:
            if hasattr(items, "aclose"):
                await items.aclose()

        items = portal.run(begin())
        try:
            while (item := portal.run(next_item())) is not end:
                yield item
        finally:  # not awaited: the garbage collector may close an unfinished loop in the portal's own thread
            asyncio.run_coroutine_threadsafe(close(), portal.loop)

    def __repr__(self) -> str:
        return "<a call that has not started: await it, iterate it, or call `.result()`>"

    def result(self, timeout: float | None = None) -> T:
        """Runs the call on a background loop and waits for it.

        Args:
            timeout: Seconds to wait; None for no limit.

        Returns:
            What `await` returns.

        Raises:
            TimeoutError: The answer took longer than `timeout`. The work is cancelled.
        """

        async def wait() -> T:
            return await self

        return portal.run(wait(), timeout)


class LocalCall(Call[T]):
    """A call of an endpoint's own function, in this process.

    start: starts the work; returns an async iterator (a stream), a coroutine (one answer), or the answer itself.
    receive: converts each answer or item for the caller.
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
            raise  # raised by the endpoint itself
        raise DeadlineExceeded(
            "the endpoint did not answer within the timeout of the call", remedy="set a longer timeout"
        ) from None
