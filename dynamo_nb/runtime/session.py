"""One client's connection at the worker's end: its open requests, each a task."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any, Final

from dynamo_nb.errors import DeadlineExceeded, DynamoError, EndpointError, NoInstances, ProtocolError, to_wire
from dynamo_nb.runtime.call_context import CURRENT, TIMEOUT, timeout_of
from dynamo_nb.runtime.call_errors import as_error, name_of, no_such_endpoint, too_late
from dynamo_nb.runtime.frames import (
    CANCEL,
    CREDIT,
    END,
    ERROR,
    HELLO,
    ITEM,
    ITEM_COST,
    MAX_FRAME,
    MAX_HELLO,
    OPEN,
    VERSION,
    WINDOW,
    Frames,
    keep_alive,
)
from dynamo_nb.runtime.handshake import (
    CALLER,
    HANDSHAKE_TIMEOUT,
    NONCE,
    WORKER,
    is_local,
    is_own,
    new_nonce,
    proof,
    proves,
)
from dynamo_nb.runtime.meters import CALLER_GONE, CANCELLED
from dynamo_nb.runtime.request import Handler, RequestContext
from dynamo_nb.runtime.spans import TRACED
from dynamo_nb.runtime.tracing import TRACING
from dynamo_nb.sdk.call import Call

if TYPE_CHECKING:
    from dynamo_nb.runtime.server import Server

FAIR_SHARE: Final = 64  # items one stream may write before the loop attends to others
LONGEST_PATH: Final = 1024  # characters of `namespace/component/endpoint`
MAX_CONNECTIONS: Final = 4096
MAX_HALF_OPEN: Final = 256  # connections whose peer has not said who it is
MAX_REQUESTS: Final = 65_536  # that one caller may have open


logger = logging.getLogger(__name__)


class Session(Frames):
    """One client's connection: its open requests, each a task."""

    limit = MAX_HELLO

    def __init__(self, server: Server, number: int) -> None:
        super().__init__()
        self.server, self.number = server, number
        self._greeted = self._counted = False
        self._local = False
        self._nonces = b"", b""  # the caller's and ours, once they are drawn
        self._timer: asyncio.TimerHandle | None = None
        # The context does not know its task, which knows the context: such a ring would be left to the collector.
        self._open: dict[int, tuple[asyncio.Task[None], RequestContext]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        server = self.server
        if len(server.sessions) >= MAX_CONNECTIONS or server.half_open >= MAX_HALF_OPEN:
            self._refuse("there are as many connections as one worker may have")
            return
        server.sessions.add(self)
        server.half_open += 1
        self._counted = True
        self._local = is_local(transport)
        if self._local and not is_own(transport):
            self._refuse("its process is another user's")
            return
        self._timer = self.loop.call_later(
            HANDSHAKE_TIMEOUT, self._refuse, f"it did not say who it is within {HANDSHAKE_TIMEOUT:g} s"
        )
        keep_alive(transport)

    def _refuse(self, why: str) -> None:
        peer = self._transport.get_extra_info("peername") if self._transport else None
        logger.warning("closing a connection (peer %s): %s", peer or "local", why)
        self.abort()

    def _no_longer_half_open(self) -> None:
        if self._counted:
            self.server.half_open -= 1
            self._counted = False
        if self._timer is not None:
            self._timer.cancel()

    def ended(self) -> None:
        self._no_longer_half_open()
        self.server.sessions.discard(self)
        self.stop_all(CALLER_GONE)

    def pause_writing(self) -> None:
        # Who does not read its answers is not asked for more.
        super().pause_writing()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._transport is not None and not self.closed and not self._transport.is_closing():
            self._transport.resume_reading()

    @property
    def tasks(self) -> Iterable[asyncio.Task[None]]:
        return (task for task, _ in self._open.values())

    def stop_all(self, why: str = CANCELLED) -> None:
        for stream in list(self._open):
            self._stop(stream, why)

    def frame(self, message: Any, length: int) -> None:
        kind = message[0]
        if not self._greeted:
            self._greet(kind, message)
        elif kind == OPEN:
            _, stream, path, args, kwargs, headers = message
            if type(stream) is not int or stream < 1 or stream in self._open:
                raise ValueError("a malformed request")
            if type(args) is not list or type(kwargs) is not dict or type(headers) is not dict:
                raise ValueError("a malformed request")
            for name, text in headers.items():
                if type(name) is not str or type(text) is not str:
                    raise ValueError("headers that are no text")
            self._begin(stream, path, args, kwargs, headers, length)
        elif kind == CANCEL:
            self._stop(message[1], CANCELLED)
        elif kind == CREDIT:
            _, stream, room = message
            if type(room) is not int or room < 1:
                raise ValueError("a malformed credit")
            if entry := self._open.get(stream):
                entry[1]._allow(room)
        else:
            raise ValueError(f"a frame of kind {kind!r}")

    def _greet(self, kind: Any, message: Any) -> None:
        if kind != HELLO:
            raise ValueError("the first frame is no hello")
        key, instance_id = self.server.key, self.server.instance_id
        if self._nonces[0]:
            assert key is not None
            if not proves(message[2], key, CALLER, instance_id, *self._nonces):
                self._refuse("it does not know this deployment's secret")
                return
        elif (version := message[2]) != VERSION:
            error = ProtocolError(
                f"the worker speaks version {VERSION} of the protocol, the caller {str(version)[:20]}",
                remedy="run both ends with the same version of dynamo_nb",
            )
            self._turn_away(error)
            return
        elif self._local or key is None:
            self.send((HELLO, 0, VERSION))
        else:
            nonce = message[3]
            if type(nonce) is not bytes or len(nonce) != NONCE:
                self._turn_away(
                    ProtocolError(
                        "the worker wants to know that its caller has the deployment's secret",
                        remedy="connect to the same NATS with the same `secret`",
                    )
                )
                return
            self._nonces = nonce, new_nonce()
            self.send((HELLO, 0, VERSION, self._nonces[1], proof(key, WORKER, instance_id, *self._nonces)))
            return
        self._no_longer_half_open()
        self._greeted = True
        self.limit = MAX_FRAME

    def _turn_away(self, error: ProtocolError) -> None:
        logger.warning("turning a caller away: %s", error.what)
        self.send((ERROR, 0, to_wire(error), False))
        self.close()

    def _begin(
        self, stream: int, path: str, args: list[Any], kwargs: dict[str, Any], headers: dict[str, str], length: int
    ) -> None:
        server = self.server
        if len(path) > LONGEST_PATH:
            raise ValueError("a path that is too long")
        handler = server.handlers.get(path)
        if len(self._open) >= MAX_REQUESTS:
            full = NoInstances(f"worker {server.worker_id} has as many requests of this caller as it may hold")
            self.send((ERROR, stream, to_wire(full), True))
        elif server.draining:
            gone = NoInstances(f"worker {server.worker_id} is stopping", where=f"dynamo://{path}", remedy="ask again")
            self.send((ERROR, stream, to_wire(gone), True))
        elif handler is None:
            component = path.rpartition("/")[0] + "/"
            known = [other.removeprefix(component) for other in server.handlers if other.startswith(component)]
            self.send((ERROR, stream, to_wire(no_such_endpoint(path, known)), False))
        else:
            timeout = timeout_of(headers) if TIMEOUT in headers else None
            meter = server.meters[path]
            meter.bytes_in += length
            context = RequestContext(self, stream, path, headers, meter)
            if timeout is not None:
                context.deadline = time.monotonic() + timeout
                context._timer = self.loop.call_later(timeout, self._expire, stream)
            self._open[stream] = self.loop.create_task(self._answer(stream, handler, args, kwargs, context)), context

    def _stop(self, stream: int, why: str) -> None:
        if context := self._cancel(stream, why):
            context._meter.stop(why)

    def _cancel(self, stream: int, why: str) -> RequestContext | None:
        if entry := self._open.pop(stream, None):
            task, context = entry
            context._stopped = why
            task.cancel()
            self.server.stopping.add(task)
            task.add_done_callback(self.server.stopping.discard)
            return context
        return None

    def _expire(self, stream: int) -> None:
        if context := self._cancel(stream, DeadlineExceeded.code):
            self._fail(stream, too_late(context.path), context)

    def _fail(self, stream: int, error: DynamoError, context: RequestContext) -> None:
        if context._span is not None:
            context._span.answered(error)
        context._meter.bytes_out += self.send((ERROR, stream, to_wire(error), False))
        context._meter.end(context._begun, error.code)

    async def _answer(
        self, stream: int, handler: Handler, args: list[Any], kwargs: dict[str, Any], context: RequestContext
    ) -> None:
        CURRENT.set(context)  # of this task alone
        meter = context._meter
        span, failure = None, None
        try:
            if TRACING.tracer is not None or TRACED in context.headers:
                span = context._span = TRACING.serve(context.path, context.headers, context.request_id, context._begun)
                meter = context._meter = span.meter(meter)
            result: Any = handler(args, kwargs, context)
            if not hasattr(result, "__aiter__"):
                result = await result
                if isinstance(result, Call):  # `return self.backend.ask(…)`: as if it had been awaited there
                    result = await result
            if hasattr(result, "__aiter__"):
                await self._stream(stream, result, context, handler)
                end: tuple[Any, ...] = (END, stream)
            else:
                end = (END, stream, result)
            if self.paused:
                await self.writable()
            if not context._stopped:
                if span is not None:
                    span.answered()
                meter.bytes_out += self._send_value(end, handler)
                meter.end(context._begun)
        except BaseException as error:
            if context._stopped:
                if not isinstance(error, asyncio.CancelledError):
                    logger.debug("a request that was stopped raised", exc_info=True)
            else:
                # SystemExit too: raised on it would end the worker, and with it the requests of others.
                failure = as_error(error, handler)
                self._fail(stream, failure, context)
        finally:
            if context._timer is not None:
                context._timer.cancel()
            self._open.pop(stream, None)
            if span is not None:
                span.end(failure, context._stopped)

    async def _stream(self, stream: int, items: AsyncIterator[Any], context: RequestContext, handler: Handler) -> None:
        count, room, meter = 0, WINDOW, context._meter
        try:
            async for item in items:
                if context._stopped:
                    return
                length = self._send_value((ITEM, stream, item), handler)
                meter.items += 1
                meter.bytes_out += length
                room -= length + ITEM_COST
                count += 1
                if count == 1:
                    meter.first_item(context._begun)
                if self.paused:
                    await self.writable()
                elif count % FAIR_SHARE == 0:
                    await asyncio.sleep(0)
                while room <= 0:
                    room += await context._allowed()
        finally:
            if close := getattr(items, "aclose", None):
                await close()

    def _send_value(self, message: tuple[Any, ...], handler: Handler) -> int:
        try:
            return self.send(message)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise EndpointError(
                f"the answer cannot be sent: {error}",
                where=name_of(handler),
                remedy="answer with plain data, models, dataclasses or arrays",
                kind=type(error).__name__,
            ) from None
