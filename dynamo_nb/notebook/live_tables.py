"""Tables in the outputs of cells that are updated while a deployment runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import Future
from typing import Any

from IPython.display import display

from dynamo_nb.sdk.portal import portal


class LiveTables:
    """The live tables of one notebook."""

    def __init__(self) -> None:
        self._updating: dict[str, list[Future[None]]] = {}

    def show(self, tables: AsyncGenerator[Any, None], *, cell: str, live: bool) -> None:
        """Displays a table that changes. Raises the errors of `tables` before the first table.

        Args:
            tables: Yields new versions of the table.
            cell: The key of the running cell.
            live: True if the table is updated until the deployment or the output ends.
        """

        async def first() -> Any:
            return await anext(tables)

        handle = display(portal.run(first()), display_id=True)

        async def update() -> None:
            async for table in tables:
                handle.update(table)

        if live and handle is not None:
            self._updating.setdefault(cell, []).append(asyncio.run_coroutine_threadsafe(update(), portal.loop))
        else:
            portal.run(tables.aclose())

    def forget(self, cell: str) -> None:
        """Ends the updates of tables in the output of a cell, which runs again."""
        for update in self._updating.pop(cell, []):
            update.cancel()
