"""The portal: an event loop in a background thread, for code that cannot await.

The word is anyio's: its blocking portal does the same.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any, TypeVar

from dynamo_nb.errors import DynamoError, summary_of

T = TypeVar("T")

UNDO_BOUND = 10.0
"""Seconds that a cancelled coroutine may take for cleanup, such as stopping workers that it started."""

END_BOUND = 2.0
"""Seconds for the remaining tasks to end when the process exits."""

INTERRUPTIBLE = 0.2
"""Seconds after which a cell that waits for a deployment notices an interrupt."""


class Portal:
    """An event loop in a daemon thread, for callers that cannot await: scripts, magics, and cells without `await`.

    Attributes:
        process: Another object in each process, also in a forked one.
    """

    def __init__(self) -> None:
        self.begin()
        os.register_at_fork(after_in_child=self.begin)

    def begin(self) -> None:
        """Forgets the loop. A forked process has no thread that runs it."""
        self.process = object()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_run, args=[self._loop], name="dynamo-portal", daemon=True).start()
                atexit.register(_end, self._loop, os.getpid())
            return self._loop

    def is_current(self) -> bool:
        """Returns True on the portal's own loop. Does not start it."""
        return self._loop is not None and asyncio._get_running_loop() is self._loop

    def check_process(self, process: object, what: str) -> None:
        """Raises DynamoError in a process that was forked after `what` was opened: its connections do not work here.

        Args:
            process: The attribute `process` at that time.
            what: The object, for the message.
        """
        if process is not self.process:
            raise DynamoError(
                f"{what} was opened before this process was forked, and cannot be used here",
                where=f"process {os.getpid()}, a fork",
                remedy="open it in this process, with `attach(…)`; or start the process with "
                'multiprocessing.get_context("spawn")',
            )

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Runs a coroutine on the portal's loop and waits for it.

        Raises TimeoutError after `timeout` seconds. After a timeout or an interrupt of the waiting thread, the
        coroutine is cancelled, and this method waits for its cleanup. Raises DynamoError on the loop itself, which
        would wait for ever.
        """
        if self.is_current():
            coroutine.close()
            raise DynamoError(
                "this code runs on the loop that `.result()` would wait for",
                where="an endpoint or hook that was itself called with `.result()`",
                remedy="write `await` in place of `.result()`, and `async for` in place of `for`",
            )
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


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """Runs the loop for the life of the process, whatever a task raises or calls.

    asyncio passes SystemExit and KeyboardInterrupt of a task on to the thread of its loop; the caller gets them too.
    """
    while not loop.is_closed():
        try:
            loop.run_forever()
        except BaseException as error:
            print(f"a task of the background loop raised {summary_of(error)}", file=sys.stderr)


def _end(loop: asyncio.AbstractEventLoop, pid: int) -> None:
    """Cancels all tasks, as `asyncio.run` does: the interpreter warns about tasks that are pending at its exit."""
    if pid != os.getpid():
        return

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

    When it is cancelled, it cancels the coroutine and returns after the coroutine's cleanup, at most UNDO_BOUND.
    """
    here = asyncio.get_running_loop()

    async def work() -> T:
        try:
            return await start()  # `start` itself may raise
        except (SystemExit, KeyboardInterrupt) as error:  # they would end the loop that awaits this
            raise DynamoError(
                f"the code that was run called for an exit: {summary_of(error)}",
                remedy='remove the call of sys.exit(), or put it under `if __name__ == "__main__":`',
            ) from error

    if here is portal.loop:
        return await work()
    ended = asyncio.Event()
    tasks: list[asyncio.Task[T]] = []

    def begin() -> None:
        tasks.append(portal.loop.create_task(work()))
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
        await asyncio.wait([waiting], timeout=UNDO_BOUND)
        waiting.cancel()
        raise
    return tasks[0].result()
