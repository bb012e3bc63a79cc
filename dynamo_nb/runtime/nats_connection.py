"""The connection of a process to NATS."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

from dynamo_nb.errors import ConnectError
from dynamo_nb.runtime.cancellation import cancel_and_wait
from dynamo_nb.runtime.connection_settings import ConnectionSettings

CONNECT_TIMEOUT: Final = 5.0  # seconds for NATS to answer
RECONNECT_WAIT: Final = 0.25  # seconds between attempts to reconnect; workers and watchers do this independently
PING_INTERVAL: Final = 10  # seconds; nats-py takes two unanswered pings for a lost connection


async def connect_nats(access: ConnectionSettings, reconnected: Callable[[], Awaitable[None]]) -> Any:
    """Connects to NATS with a client that reconnects for ever.

    Args:
        access: URL of NATS, and the credentials for it.
        reconnected: Called after each reconnection.

    Raises:
        ConnectError: None of the servers answers within `CONNECT_TIMEOUT`.
    """
    from nats.aio.client import Client as Nats

    tls = access.for_nats()
    servers = [server.strip() for server in access.nats_url.split(",")]
    errors: list[Exception] = []
    inconclusive: list[Exception] = []
    all_failed = asyncio.get_running_loop().create_future()

    async def failed(error: Exception) -> None:
        # A server that refuses a credential may reset the connection before its reason is read; the next attempt
        # shows the reason.
        inconclusive.append(error) if isinstance(error, ConnectionResetError) else errors.append(error)
        if len(errors) >= len(servers) and not all_failed.done():
            all_failed.set_result(None)

    async def ignore(error: Exception) -> None:
        """Once connected, nats-py recovers by itself; other errors are raised at the call."""

    async def closed() -> None:
        # A refused credential closes the client without an error, and without ending `connect`.
        await failed(nats.last_error or ConnectionError("the connection was closed"))

    nats = Nats()
    connecting = asyncio.create_task(
        nats.connect(
            servers,
            error_cb=failed,
            closed_cb=closed,
            reconnected_cb=reconnected,
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_WAIT,
            connect_timeout=CONNECT_TIMEOUT,
            ping_interval=PING_INTERVAL,
            user_credentials=access.nats_credentials or None,
            tls=tls,
        )
    )
    try:
        await asyncio.wait([connecting, all_failed], timeout=CONNECT_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        connecting.cancel()
        raise
    if connecting.done() and connecting.exception() is None:
        nats._error_cb, nats._closed_cb = ignore, None
        return nats
    await cancel_and_wait(connecting)
    if not connecting.cancelled() and (error := connecting.exception()):
        errors.append(error if isinstance(error, Exception) else ConnectionError(str(error)))
    nats._error_cb, nats._closed_cb = ignore, None
    with suppress(AssertionError):  # nats-py's own, if it never tried to connect
        await nats.close()
    reasons = [str(error) or type(error).__name__ for error in [*inconclusive, *errors]]
    reason = reasons[-1] if reasons else f"no answer within {CONNECT_TIMEOUT:g} s"
    raise ConnectError(
        f"NATS at {access.nats_address} does not answer: {reason}",
        where=access.nats_address,
        remedy="check the URL (--nats, NATS_SERVER), its credential, and that the server is running",
    )


def reachable_address(nats_url: str) -> str:
    """Returns this host's address on the route to NATS, for others to connect to. Sends nothing."""
    parts = urlsplit(nats_url.split(",", maxsplit=1)[0])
    family, kind, proto, _, address = socket.getaddrinfo(parts.hostname, parts.port or 4222, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, proto) as probe:
        probe.connect(address)
        return str(probe.getsockname()[0])
