"""The request plane over NATS: workers accept connections at a subject, and clients connect to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from dynamo_nb.runtime.nats_transport import ACCEPT, HEAD, INBOX, OPEN, NatsTransport

P = TypeVar("P", bound=asyncio.Protocol)

CONNECT_TIMEOUT: Final = 5.0  # seconds

logger = logging.getLogger(__name__)


def subject_of(instance_id: int) -> str:
    """Returns the subject at which a worker accepts connections."""
    return f"dynamo_requests.{instance_id:x}"


class NatsListener:
    """Accepts connections for one worker.

    Args:
        nats: A connected client of NATS.
        instance_id: The worker's instance.
        factory: Creates the protocol of a connection.
        silence: Seconds after which a silent peer counts as lost.
    """

    def __init__(self, nats: Any, instance_id: int, factory: Callable[[], asyncio.Protocol], silence: float) -> None:
        self.subject = subject_of(instance_id)
        self._nats, self._factory, self._silence = nats, factory, silence
        self._subscription: Any = None

    async def start(self) -> None:
        """Subscribes to the worker's subject."""
        self._subscription = await self._nats.subscribe(self.subject, cb=self._accept)

    async def _accept(self, message: Any) -> None:
        if not message.reply.startswith(INBOX):
            logger.warning("rejecting a connection with the reply subject %r", message.reply[:100])
            return
        transport = NatsTransport(self._nats, self._factory(), message.reply, self._silence)
        inbox = self._nats.new_inbox()
        transport.subscription = await self._nats.subscribe(inbox, cb=transport.receive)
        await self._nats.publish(message.reply, HEAD.pack(ACCEPT, 0), reply=inbox)
        transport.begin(message.reply)

    async def stop(self) -> None:
        """Ends the subscription."""
        if self._subscription is not None:
            with suppress(Exception):
                await self._subscription.unsubscribe()


async def connect(nats: Any, subject: str, factory: Callable[[], P], silence: float) -> P:
    """Connects to the worker that listens at a subject.

    Args:
        nats: A connected client of NATS.
        subject: The worker's subject.
        factory: Creates the protocol of the connection.
        silence: Seconds after which a silent peer counts as lost.

    Returns:
        The connected protocol.

    Raises:
        OSError: No worker listens there, or NATS failed.
        TimeoutError: No worker accepts within `CONNECT_TIMEOUT`.
    """
    protocol = factory()
    transport = NatsTransport(nats, protocol, subject, silence)
    inbox = nats.new_inbox()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            transport.subscription = await nats.subscribe(inbox, cb=transport.receive)
            await nats.publish(subject, HEAD.pack(OPEN, 0), reply=inbox)
            await transport.accepted
    except BaseException as error:
        transport.accepted.cancel()
        transport.abort()
        if isinstance(error, (OSError, TimeoutError)) or not isinstance(error, Exception):
            raise
        raise ConnectionError(f"the connection over NATS failed: {error}") from error
    return protocol
