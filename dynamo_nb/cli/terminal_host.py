"""Verbs in a terminal."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamo_nb.cli.host import VerbHost
from dynamo_nb.cli.terminal_display import TerminalDisplay
from dynamo_nb.errors import TargetError

if TYPE_CHECKING:
    from dynamo_nb.control.record import Record
    from dynamo_nb.deployment.plan_source import PlanSource
    from dynamo_nb.deployment.serve_options import ServeOptions
    from dynamo_nb.graph.graph import Graph
    from dynamo_nb.observe.display import Display

_CLEAR_SCREEN = "\x1b[H\x1b[J"


class TerminalHost(VerbHost):
    """A terminal, or another program that reads the output as text."""

    prefix = "dynamo"
    example_target = "hello.py:Frontend"
    is_terminal = True

    def export_served(self, folder: Path) -> Path:
        raise TargetError(f"no folder for the bundle of {folder}", remedy="dynamo export module:Service bundle/")

    def remark(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def result(self, value: Any) -> None:
        self.show(value)

    def display(self) -> Display:
        return TerminalDisplay()

    def draw(self, target: str, graph: Graph) -> None:  # noqa: ARG002
        self.show(graph)

    def interruptible(self) -> AbstractContextManager[None]:
        return nullcontext()

    def serve(self, source: PlanSource, options: ServeOptions) -> None:
        from dynamo_nb.cli.foreground import serve_in_foreground

        if not asyncio.run(serve_in_foreground(source, options)):
            raise KeyboardInterrupt

    def attach(self, which: str | None) -> None:
        from dynamo_nb.cli.foreground import follow_logs

        follow_logs(self.record(which))

    def follow_events(self, record: Record, number: int) -> None:
        from dynamo_nb.observe.event_table import event_line, follow

        async def show() -> None:
            async for event in follow(record.control, number):
                self.show(event_line(event))

        with suppress(KeyboardInterrupt):
            asyncio.run(show())

    def top(self, record: Record, *, once: bool) -> None:
        from dynamo_nb.observe.top import follow

        live = sys.stdout.isatty() and not once

        async def show() -> None:
            async for table in follow(record.control):
                self.show(f"{_CLEAR_SCREEN}{table}" if live else table)
                if not live:
                    return

        with suppress(KeyboardInterrupt):
            asyncio.run(show())
