"""Logs in the outputs of cells. They continue while other cells run."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from contextlib import aclosing

from IPython.display import DisplayHandle, display

from dynamo_nb.control.record import Record
from dynamo_nb.errors import summary_of
from dynamo_nb.notebook.log_widget import LogWidget
from dynamo_nb.observe.log_reader import LogRequest, access_log, read_logs
from dynamo_nb.sdk.portal import portal

STOPPED = "stopped"


class LiveLogs:
    """The live logs of one notebook."""

    def __init__(self) -> None:
        self._following: dict[str, list[_Output]] = {}

    def show(self, record: Record, request: LogRequest, *, cell: str, embedded: bool) -> None:
        """Displays logs until the deployment ends, the user stops them, or the cell runs again. Returns at once.

        Args:
            record: The deployment.
            request: The lines to show.
            cell: The key of the running cell.
            embedded: True if the output must refer to the widget, see `LogWidget.live_bundle`.
        """
        output = _Output(record, request)
        output.start(embedded=embedded)
        self._following.setdefault(cell, []).append(output)

    def forget(self, cell: str) -> None:
        """Ends the logs in the output of a cell that runs again.

        Args:
            cell: The key of the cell.
        """
        for output in self._following.pop(cell, []):
            output.close()


class _Output:
    """One output. At the end, the last lines replace the widget: every front end can show and save them."""

    def __init__(self, record: Record, request: LogRequest) -> None:
        self._record, self._request = record, request
        self._access = access_log(record, request)
        self._widget = LogWidget(
            f"{record.id}: {request.filter}",
            request.nothing,
            access=request.access,
            stop=lambda: self._stop(STOPPED),
            set_access=self._set_access,
        )
        self._handle: DisplayHandle | None = None
        self._task: Future[None] | None = None
        self._reason = ""

    def start(self, *, embedded: bool) -> None:
        self._handle = display(self._widget.live_bundle(embedded=embedded), raw=True, display_id=True)
        self._task = asyncio.run_coroutine_threadsafe(self._follow(), portal.loop)

    def _stop(self, reason: str) -> None:
        self._reason = self._reason or reason
        if self._task is not None:
            self._task.cancel()

    def close(self) -> None:
        self._handle = None  # its cell has another output now
        self._stop(STOPPED)
        self._widget.close()

    def _set_access(self, on: bool) -> None:
        self._access.shown = on

    async def _follow(self) -> None:
        try:
            async with aclosing(read_logs(self._record, self._request, self._access)) as groups:
                async for lines in groups:
                    if lines:
                        self._widget.add(lines)
            self._reason = f"{self._record.id} has stopped"
        except Exception as error:  # the output is the only place where a user sees it
            self._reason = summary_of(error)
        finally:
            self._widget.ended = self._reason or STOPPED
            if self._handle is not None:
                self._handle.update(self._widget.static_forms, raw=True)
