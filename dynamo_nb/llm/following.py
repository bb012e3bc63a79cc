"""Following a stream of every instance of a component, such as the events of all workers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import aclosing
from typing import Any, Final, Generic, TypeVar

from dynamo_nb.errors import EndpointError, RequestError
from dynamo_nb.llm.messages import PlacementEvent, WorkerEvent

logger = logging.getLogger(__name__)

REOPEN_WAIT: Final = 0.1  # seconds between attempts to open the stream of an instance

Event = TypeVar("Event", WorkerEvent, PlacementEvent)


class Following(Generic[Event]):
    """Applies the events of every instance. After a gap in their numbers, or their end, it opens the stream again.

    Args:
        open_stream: Opens the stream of an instance; its first events contain the whole state.
        apply: Applies an event of an instance.
        forget: Called when nothing of an instance is known any more: it has gone, or its events are invalid.
        name: The instances, in messages of the log.
    """

    def __init__(
        self,
        open_stream: Callable[[int], Any],
        apply: Callable[[int, Event], None],
        forget: Callable[[int], None],
        name: str,
    ) -> None:
        self._open_stream = open_stream
        self._apply: Callable[[int, Event], None] = apply
        self._forget, self._name = forget, name
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def update(self, ids: Collection[int]) -> None:
        """Follows these instances and no others."""
        for instance_id in ids - self._tasks.keys():
            self._tasks[instance_id] = asyncio.create_task(self._follow(instance_id))
        for instance_id in self._tasks.keys() - ids:
            self._tasks.pop(instance_id).cancel()
            self._forget(instance_id)

    def stop(self) -> None:
        """Closes all streams."""
        for task in self._tasks.values():
            task.cancel()

    async def _follow(self, instance_id: int) -> None:
        is_logged = False
        while True:
            expected = 0
            try:
                events: AsyncIterator[Event] = aiter(self._open_stream(instance_id))
                async with aclosing(events):  # type: ignore[type-var]
                    async for event in events:
                        if event.number != expected:
                            break
                        expected += 1
                        self._apply(instance_id, event)
            except RequestError as error:  # the instance has gone, or it comes back
                if isinstance(error, EndpointError) and not is_logged:
                    is_logged = True
                    logger.warning("the event stream of %s %s ended with an error: %s", self._name, instance_id, error)
            except Exception:
                logger.exception("%s %s sends invalid events: the router ignores them", self._name, instance_id)
                self._forget(instance_id)
                return
            await asyncio.sleep(REOPEN_WAIT)
