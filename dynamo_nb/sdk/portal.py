"""An event loop in the background, and work that is awaited here or done there: for code that cannot await."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

UNDO_BOUND = 10.0
"""Seconds that a cancelled coroutine may take to undo what it has begun, such as stopping workers that it started."""


END_BOUND = 2.0
"""Seconds that what still goes on has to end when the process does."""


class Portal:
    """An event loop in a daemon thread, for callers that cannot await: scripts, magics, and cells without `await`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="dynamo-portal", daemon=True).start()
                atexit.register(_end, self._loop)
            return self._loop

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Runs the coroutine on the portal's loop and waits for it.

        Raises TimeoutError after `timeout` seconds. When that happens, or the waiting thread is interrupted, the
        coroutine is cancelled, and what it then undoes is waited for.
        """
        ended = threading.Event()

        async def whole() -> T:
            try:
                return await coroutine
            finally:
                ended.set()

        future = asyncio.run_coroutine_threadsafe(whole(), self.loop)
        try:
            return future.result(timeout)
        except BaseException:
            if future.cancel():
                ended.wait(UNDO_BOUND)
            raise


def _end(loop: asyncio.AbstractEventLoop) -> None:
    """Cancels what goes on, as `asyncio.run` does: the interpreter complains of tasks that it finds at its end."""

    async def cancel() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=END_BOUND)

    with suppress(TimeoutError):
        asyncio.run_coroutine_threadsafe(cancel(), loop).result(END_BOUND + 1)


portal = Portal()


class Pending(Awaitable[T]):
    """Work that has been asked for and not begun: `await` it, or call `.result()` where nothing can be awaited."""

    def __init__(self, start: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._start = start

    def __await__(self) -> Generator[Any, None, T]:
        return self._start().__await__()

    def result(self, timeout: float | None = None) -> T:
        """Does the work on a background loop and waits at most `timeout` seconds for it."""
        return portal.run(self._start(), timeout)

    def __repr__(self) -> str:
        return "<not begun: write `await` before it, or `.result()` after it>"

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"this has not begun, and has no {name!r} yet: write `await` before it, or `.result()` after it"
        )


INTERRUPTIBLE = 0.2
"""Seconds after which a cell that waits for a deployment notices that it was interrupted."""


async def on_portal(start: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs a coroutine on the portal's loop, from any loop: a deployment's own connections live there.

    When it is cancelled it returns after the coroutine has undone what it began.
    """
    here = asyncio.get_running_loop()
    if here is portal.loop:
        return await start()
    ended = asyncio.Event()
    tasks: list[asyncio.Task[T]] = []

    def begin() -> None:
        tasks.append(portal.loop.create_task(start()))
        tasks[0].add_done_callback(lambda _: here.is_closed() or here.call_soon_threadsafe(ended.set))

    def cancel() -> None:
        tasks[0].cancel()

    portal.loop.call_soon_threadsafe(begin)
    try:
        # A signal does not wake the loop of an ipykernel: one that only waits would notice an interrupt at the end.
        waiting = asyncio.ensure_future(ended.wait())
        while not waiting.done():
            await asyncio.wait([waiting], timeout=INTERRUPTIBLE)
    except asyncio.CancelledError:
        portal.loop.call_soon_threadsafe(cancel)
        await ended.wait()
        raise
    return tasks[0].result()
