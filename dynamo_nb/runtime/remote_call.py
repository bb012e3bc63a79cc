"""A call of an endpoint in a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar, cast

from dynamo_nb.runtime.attempts import Attempts
from dynamo_nb.runtime.selection import InstanceSelection
from dynamo_nb.runtime.stream import Items, OtherLoopItems
from dynamo_nb.sdk.call import NO_OPTIONS, Call, CallOptions
from dynamo_nb.sdk.portal import portal

T = TypeVar("T")


class RemoteCall(Call[T], Generic[T]):
    """A call of an endpoint in a worker. Nothing is sent before it is awaited or iterated; see `Call`.

    Args:
        selection: Chooses the instance of each attempt.
        args: Positional arguments of the call.
        kwargs: Keyword arguments of the call.
        options: Options of the call.
        receive: Converts the answer, or each item of a stream, for the caller; None keeps it as received.
    """

    def __init__(
        self,
        selection: InstanceSelection,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: CallOptions = NO_OPTIONS,
        receive: Callable[[Any], Any] | None = None,
    ) -> None:
        self._selection, self.args, self.kwargs, self.options, self.receive = selection, args, kwargs, options, receive

    def _runs_here(self) -> bool:
        """True on the loop of the selection, and on the portal's loop, which has a runtime of its own.

        The portal never waits for the loop of the selection: the cell that waits for the portal may block that loop.
        """
        if asyncio.get_running_loop() is self._selection.context.loop:
            return True
        portal.check_process(self._selection.process, f"the client of dynamo://{self._selection.path}")
        return portal.is_current()

    def __await__(self) -> Generator[Any, None, T]:
        answer = Attempts(self._selection, self.args, self.kwargs, self.options, self.receive).answer()
        if self._runs_here():
            return answer.__await__()
        remote = asyncio.run_coroutine_threadsafe(answer, self._selection.context.loop)
        return cast("Generator[Any, None, T]", asyncio.wrap_future(remote).__await__())

    def __iter__(self) -> Iterator[Any]:
        """Iterates from code that cannot await.

        Raises:
            TypeError: The loop of the client runs this code. In a worker, all other requests would have to wait.
        """
        if asyncio._get_running_loop() is self._selection.context.loop:
            raise TypeError("use `async for` here: a plain `for` over a call would block the event loop")
        return super().__iter__()

    def __aiter__(self) -> Items:
        items = Items(Attempts(self._selection, self.args, self.kwargs, self.options, self.receive))
        return items if self._runs_here() else OtherLoopItems(items, self._selection.context.loop)
