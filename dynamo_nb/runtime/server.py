"""The worker's end: listens, runs a handler for each open request, and stops it when its caller is gone."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dynamo_nb.errors import (
    DeadlineExceeded,
    DynamoError,
    EndpointError,
    NoInstances,
    NoSuchEndpoint,
    ProtocolError,
    StartError,
    nearest,
    to_wire,
)
from dynamo_nb.runtime.frames import (
    CANCEL,
    CLOSE_TIMEOUT,
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
    wait_closed,
)
from dynamo_nb.runtime.handshake import (
    CALLER,
    HANDSHAKE_TIMEOUT,
    NONCE,
    WORKER,
    is_local,
    is_own,
    new_nonce,
    private_folder,
    proof,
    proves,
)
from dynamo_nb.runtime.metadata import CURRENT, REQUEST_ID, TIMEOUT, TRACE, timeout_of
from dynamo_nb.runtime.meters import CALLER_GONE, CANCELLED, Meter, Meters
from dynamo_nb.runtime.tracing import TRACING
from dynamo_nb.sdk.call import Call

if TYPE_CHECKING:
    from dynamo_nb.runtime.nats_plane import NatsListener

Handler = Callable[[list[Any], dict[str, Any], "RequestContext"], Awaitable[Any] | AsyncIterator[Any]]

FAIR_SHARE: Final = 64  # items one stream may write before the loop attends to others
LONGEST_PATH: Final = 1024  # characters of `namespace/component/endpoint`
LONGEST_SOCKET_PATH: Final = 107  # bytes, of Linux's sockaddr_un
MAX_CONNECTIONS: Final = 4096
MAX_HALF_OPEN: Final = 256  # connections whose peer has not said who it is
MAX_REQUESTS: Final = 65_536  # that one caller may have open

_RUNTIME = str(Path(__file__).parent) + os.sep

logger = logging.getLogger(__name__)


class RequestContext:
    """What a handler may know about the request that it serves.

    path: of the endpoint. headers: text that the caller sent beside the arguments. instance_id: the instance that
    serves it. deadline: when it is stopped, in the time of `time.monotonic`; None if it may take for ever.
    """

    __slots__ = (
        "_begun",
        "_carried",
        "_meter",
        "_room",
        "_session",
        "_stopped",
        "_stream",
        "_timer",
        "_waiter",
        "deadline",
        "headers",
        "path",
    )

    def __init__(self, session: Session, stream: int, path: str, headers: dict[str, str], meter: Meter) -> None:
        self._session, self._stream, self.path, self.headers = session, stream, path, headers
        self._meter, self._begun = meter, meter.begin()
        self._carried: dict[str, str] | None = None
        self._stopped = ""  # why nobody waits for the answer any more
        self._room = 0
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.deadline: float | None = None

    @property
    def instance_id(self) -> int:
        return self._session.server.instance_id

    @property
    def request_id(self) -> str:
        """The caller's `request-id` header, or a name that is unique among this worker's requests."""
        return self.headers.get(REQUEST_ID) or f"{self.instance_id:x}-{self._session.number}-{self._stream}"

    @property
    def carried(self) -> dict[str, str]:
        """The headers that calls made for this request take along."""
        if self._carried is None:
            headers = self.headers
            self._carried = {name: headers[name] for name in TRACE if name in headers}
            self._carried[REQUEST_ID] = self.request_id
        return self._carried

    def remaining(self) -> float | None:
        """The seconds that are left for the request; None if it may take for ever."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def is_stopped(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return bool(self._stopped)

    def _allow(self, room: int) -> None:
        self._room += room
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _allowed(self) -> int:
        """What the caller has allowed since this was last asked; waits for some."""
        while not self._room:
            self._waiter = self._session.loop.create_future()
            await self._waiter
        room, self._room = self._room, 0
        return room


class Server:
    """Where a worker listens, and the handlers that it has, by path `namespace/component/endpoint`."""

    def __init__(self, instance_id: int, worker_id: str, key: bytes | None, tls: ssl.SSLContext | None = None) -> None:
        self.instance_id, self.worker_id, self.key = instance_id, worker_id, key
        self._tls = tls
        self.handlers: dict[str, Handler] = {}
        self.meters = Meters()
        self.draining = False
        self.socket: str | None = None
        self.port: int | None = None
        self.subject: str | None = None
        self._on_nats: NatsListener | None = None
        self.sessions: set[Session] = set()
        self.stopping: set[asyncio.Task[None]] = set()  # of requests that nobody waits for any more
        self.half_open = 0
        self._listening: list[asyncio.AbstractServer] = []
        self._accepted = 0

    async def start_on_nats(self, nats: Any, lease: float) -> None:
        """Takes connections over NATS."""
        from dynamo_nb.runtime.nats_plane import NatsListener

        self._on_nats = NatsListener(nats, self.instance_id, self._session, lease)
        await self._on_nats.start()
        self.subject = self._on_nats.subject

    async def start(self, socket_dir: Path | None, host: str | None) -> None:
        """Listens on a Unix socket in `socket_dir` and on a free TCP port of `host`, each where given."""
        loop = asyncio.get_running_loop()
        if socket_dir is not None:
            private_folder(socket_dir)
            path = str(socket_dir / f"{self.instance_id:x}.sock")
            if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
                raise StartError(
                    f"the path of a Unix socket may have {LONGEST_SOCKET_PATH} bytes: {path}",
                    where=str(socket_dir),
                    remedy="choose a shorter folder for sockets",
                )
            self._listening.append(await loop.create_unix_server(self._session, path))
            self.socket = path
        if host is not None:
            patience = HANDSHAKE_TIMEOUT if self._tls is not None else None
            server = await loop.create_server(self._session, host, 0, ssl=self._tls, ssl_handshake_timeout=patience)
            self._listening.append(server)
            self.port = server.sockets[0].getsockname()[1]

    def _session(self) -> Session:
        self._accepted += 1
        return Session(self, self._accepted)

    async def drain(self) -> None:
        """Refuses new requests, so that clients ask another instance, and waits until those in hand have ended."""
        self.draining = True
        while tasks := self.tasks:
            await asyncio.wait(tasks)

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """Of every request that is being answered."""
        return self.stopping.union(*(session.tasks for session in self.sessions))

    async def close(self) -> None:
        """Stops listening, cancels what is running, and closes the connections."""
        self.draining = True
        for listening in self._listening:
            listening.close()
        if self._on_nats is not None:
            await self._on_nats.stop()
        if self.socket is not None:
            Path(self.socket).unlink(missing_ok=True)
        sessions = list(self.sessions)
        for session in sessions:
            session.stop_all()
            session.close()
        if tasks := self.tasks:
            await asyncio.wait(tasks, timeout=CLOSE_TIMEOUT)
        await wait_closed(sessions)


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
            meter = server.meters[path]
            meter.bytes_in += length
            context = RequestContext(self, stream, path, headers, meter)
            if TIMEOUT in headers:
                timeout = timeout_of(headers)
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
        context._meter.bytes_out += self.send((ERROR, stream, to_wire(error), False))
        context._meter.end(context._begun, error.code)

    async def _answer(
        self, stream: int, handler: Handler, args: list[Any], kwargs: dict[str, Any], context: RequestContext
    ) -> None:
        CURRENT.set(context)  # of this task alone
        meter = context._meter
        span = None if TRACING.tracer is None else TRACING.serve(context.path, context.headers, context.request_id)
        failure: DynamoError | None = None
        try:
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
                TRACING.end(span, failure, context._stopped)

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


def name_of(handler: Handler) -> str:
    return str(getattr(handler, "__qualname__", ""))


def no_such_endpoint(path: str, known: Iterable[str]) -> NoSuchEndpoint:
    """path: `namespace/component/endpoint`. known: the names of the component's endpoints."""
    component, _, name = path.rpartition("/")
    return NoSuchEndpoint(
        f"{component.rpartition('/')[2]} has no endpoint {name!r}: {nearest(name, known)}",
        where=f"dynamo://{path}",
        remedy="an endpoint is a method with @dynamo_endpoint()",
    )


def too_late(path: str) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"dynamo://{path} did not answer in the time that the request had",
        where=f"dynamo://{path}",
        remedy="allow more time, or see with `dynamo trace` where it went",
    )


def as_error(error: BaseException, handler: Handler) -> DynamoError:
    """What the caller gets for an exception: our own errors as they are, others with their traceback."""
    if isinstance(error, DynamoError):
        return error
    kind, frames = type(error).__name__, error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_RUNTIME):
        frames = frames.tb_next
    text = "".join(traceback.TracebackException(type(error), error, frames).format())
    try:
        said = str(error)
    except Exception:  # an exception of a person's own making, whose text cannot be made
        said = "(without a text)"
    return EndpointError(f"{kind}: {said}", where=name_of(handler), kind=kind, traceback=text)
