"""The metrics page for Prometheus: its port is open from the start, its server starts at the first request."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Final

from dynamo_nb.errors import PlacementError

_BACKLOG: Final = 16
"""Requests that may wait until the server has started."""


class MetricsPage:
    """Serves the metrics over HTTP, in a thread.

    Args:
        host: address to listen on.
        port: 0 for any free one.
        read: returns the metrics, on the event loop that constructs the page.

    Raises:
        PlacementError: the port is not free, or the address does not exist.
    """

    def __init__(self, host: str, port: int, read: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._read = read
        self._enabled = False
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._socket = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        except OSError as error:
            raise PlacementError(
                f"the metrics page cannot listen: {error.strerror or error}",
                where=f"{host}:{port}",
                remedy="choose another port with --metrics-port (0 takes a free one) or DYNAMO_METRICS_PORT",
            ) from None

    @property
    def url(self) -> str:
        host, port = self._socket.getsockname()[:2]
        return f"http://[{host}]:{port}/metrics" if ":" in host else f"http://{host}:{port}/metrics"

    def enable(self) -> None:
        """Lets the first request start the server. What it imports would delay the start of a deployment."""
        if not self._enabled:
            self._enabled = True
            self._loop.add_reader(self._socket, self._start)

    def close(self) -> None:
        self._loop.remove_reader(self._socket)

    def _start(self) -> None:
        self._loop.remove_reader(self._socket)
        threading.Thread(target=self._serve, name="dynamo-metrics", daemon=True).start()

    def _serve(self) -> None:
        from dynamo_nb.supervisor.prometheus import serve_page

        async def read() -> dict[str, Any]:
            return await self._read()

        serve_page(self._socket, lambda: asyncio.run_coroutine_threadsafe(read(), self._loop).result())
