"""TCP keepalive: ends connections to hosts that have vanished."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

KEEPALIVE: Final = 5  # seconds of silence, and between probes: a host without power is noticed in about 20
PROBES: Final = 3  # probes that may remain unanswered


def keep_alive(transport: asyncio.BaseTransport) -> None:
    """Makes the kernel end a TCP connection whose peer's host has vanished.

    Probes work while nothing is being sent. With unacknowledged data the kernel does not probe; it repeats the data for
    about 15 minutes, unless TCP_USER_TIMEOUT limits that.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {
        "TCP_KEEPIDLE": KEEPALIVE,
        "TCP_KEEPINTVL": KEEPALIVE,
        "TCP_KEEPCNT": PROBES,
        "TCP_USER_TIMEOUT": 1000 * KEEPALIVE * (1 + PROBES),  # milliseconds
    }
    for name, value in options.items():
        if option := getattr(socket, name, None):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
