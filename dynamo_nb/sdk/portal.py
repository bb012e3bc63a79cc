"""The portal: an event loop in a background thread, for code that cannot await.

The word is anyio's: its blocking portal does the same.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

UNDO_BOUND = 10.0
"""Seconds that a cancelled coroutine may take for cleanup, such as stopping workers that it started."""

END_BOUND = 2.0
"""Seconds for the remaining tasks to end when the process exits."""

INTERRUPTIBLE = 0.2
"""Seconds after which a cell that waits for a deployment notices an interrupt."""


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

    def is_current(self) -> bool:
        """Returns True on the portal's own loop. Does not start it."""
        return self._loop is not None and asyncio._get_running_loop() is self._loop

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Runs a coroutine on the portal's loop and waits for it.

        Raises TimeoutError after `timeout` seconds. After a timeout or an interrupt of the waiting thread, the
        coroutine is cancelled, and this method waits for its cleanup.
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
    """Cancels all tasks, as `asyncio.run` does: the interpreter warns about tasks that are pending at its exit."""

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
    """Work that has not started. `await` it, or call `.result()` in code that cannot await.

    Example:
        `serve` returns a `Pending`::

            deployment = await serve(Frontend)  # in a notebook
            deployment = serve(Frontend).result()  # in a script
    """

    def __init__(self, start: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._start = start

    def __await__(self) -> Generator[Any, None, T]:
        return self._start().__await__()

    def result(self, timeout: float | None = None) -> T:
        """Runs the work on a background loop and waits for it.

        Args:
            timeout: Seconds to wait; None for no limit.

        Returns:
            What `await` returns.

        Raises:
            TimeoutError: The work took longer than `timeout`. It is cancelled.
        """
        return portal.run(self._start(), timeout)

    def __repr__(self) -> str:
        return "<work that has not started: write `await` before it, or `.result()` after it>"

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"this work has not started and has no {name!r} yet: write `await` before it, or `.result()` after it"
        )


async def on_portal(start: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs a coroutine on the portal's loop, from any loop. The connections of a deployment belong to that loop.

    When it is cancelled, it cancels the coroutine and returns after the coroutine's cleanup.
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
        # A signal does not wake the loop of an ipykernel: a plain wait would notice an interrupt only at its end.
        waiting = asyncio.ensure_future(ended.wait())
        while not waiting.done():
            await asyncio.wait([waiting], timeout=INTERRUPTIBLE)
    except asyncio.CancelledError:
        portal.loop.call_soon_threadsafe(cancel)
        await ended.wait()
        raise
    return tasks[0].result()
