"""What a person does with the mouse in a drawing. Each is a line of code, which is shown, and what came of it.

What is asked of a deployment runs on the portal's loop, so that it goes on while a cell blocks the kernel. Links belong
to the notebook's own names and are made between cells, as a cell would make them.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from dynamo_nb.deployment.deployment import Deployment
from dynamo_nb.errors import DynamoError, LinkError, TargetError
from dynamo_nb.graph.graph import Graph
from dynamo_nb.notebook.exec_in_worker import find
from dynamo_nb.notebook.graph_widget import GraphView
from dynamo_nb.sdk.definition import definition_of, is_service
from dynamo_nb.sdk.links import book_in
from dynamo_nb.sdk.portal import portal

if TYPE_CHECKING:
    from dynamo_nb.notebook.session import Session

GATHER: Final = 0.05
"""Seconds in which items of a stream are put together into one message: pages are slower than workers."""
LONGEST: Final = 20_000
"""Characters of one answer, or of one message of items, that are shown."""


class Actions:
    """Answers what pages ask: the line of code at once, and what came of it in the end."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._calls: dict[tuple[GraphView, int], Future[None]] = {}

    def begin(self, deployment: Deployment | None, view: GraphView, message: dict[str, Any]) -> None:
        """Does what a message asks for; returns at once. deployment: what runs of the graph that was clicked into."""
        act = getattr(self, f"_{message.get('do')}", None)
        answer = Answer(view, int(message.get("id", 0)))
        if act is None:
            answer.failed(f"nothing is known of {message.get('do')!r}")
            return
        given = {key: value for key, value in message.items() if key not in {"do", "id"}}
        if message["do"] in {"link", "unlink"}:
            self._between_cells(lambda: self._answered(answer, act(answer, **given)))
            return
        if message["do"] == "cancel":
            act(view, **given)
            return
        if deployment is None:
            answer.failed("nothing is being served: run `deployment = await serve(…)` first")
            return
        work = self._answered(answer, act(answer, deployment, **given))
        running = asyncio.run_coroutine_threadsafe(work, portal.loop)
        if message["do"] == "call":
            self._calls[view, answer.number] = running
            running.add_done_callback(lambda _: self._calls.pop((view, answer.number), None))

    async def _answered(self, answer: Answer, work: Coroutine[Any, Any, Any]) -> None:
        try:
            answer.done(await work)
        except DynamoError as error:
            answer.failed(str(error))
        except asyncio.CancelledError:
            answer.failed("cancelled")
        except Exception as error:
            answer.failed(f"{type(error).__name__}: {error}")

    def _between_cells(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        kernel = self._session.shell.kernel
        kernel.io_loop.add_callback(work)

    def _name(self, deployment: Deployment) -> str:
        """What the notebook calls it."""
        space = self._session.shell.user_ns
        return next((n for n, v in space.items() if v is deployment and not n.startswith("_")), "deployment")

    # --- of a deployment -----------------------------------------------------------------------------------------

    async def _call(
        self, answer: Answer, deployment: Deployment, *, service: str, endpoint: str, arguments: str
    ) -> Any:
        given = json.loads(arguments)
        if not isinstance(given, dict):
            raise TargetError(f"the arguments are no object: {arguments}", remedy='write {"name": value, …}')
        call = getattr(deployment[service], endpoint)(**given)
        of = deployment.graph.services[service].endpoints
        stream = next(e.stream for e in of.values() if endpoint in {e.attribute, e.name})
        written = ", ".join(f"{name}={value!r}" for name, value in given.items())
        said = f"{self._name(deployment)}{_member(service)}.{endpoint}({written})"
        if not stream:
            answer.line(f"await {said}")
            return await call
        answer.line(f"async for item in {said}: print(item)")
        count = 0
        async for item in call:
            answer.item(item)
            count += 1
        return None

    def _cancel(self, view: GraphView, *, call: int) -> None:
        if (running := self._calls.get((view, call))) is not None:
            running.cancel()

    async def _restart(self, answer: Answer, deployment: Deployment, *, service: str) -> None:
        answer.line(f'await {self._name(deployment)}.restart("{service}")')
        await deployment.restart(service)

    async def _scale(self, answer: Answer, deployment: Deployment, *, service: str, workers: int) -> None:
        given = f"{service}={workers}" if service.isidentifier() else f"**{{{service!r}: {workers}}}"
        answer.line(f"await {self._name(deployment)}.scale({given})")
        await deployment.scale(**{service: workers})

    async def _stop(self, answer: Answer, deployment: Deployment) -> None:
        answer.line(f"await {self._name(deployment)}.stop()")
        await deployment.stop()

    async def _console(self, answer: Answer, deployment: Deployment, *, service: str, index: int) -> str:
        answer.line(f"%dynamo console {service}[{index}]")
        _, workers = find([deployment], f"{service}[{index}]")
        return "\n".join(f"jupyter console --existing {worker.connection_file}" for worker in workers)

    # --- of the notebook's graph ---------------------------------------------------------------------------------

    async def _link(self, answer: Answer, *, source: str, target: str) -> None:
        if target in book_in(self._session.shell.user_ns).targets(source):
            raise LinkError(f"{source} is linked to {target} already")
        await self._linked(answer, source, [f"{self._variable(source)}.link({self._variable(target)})"])

    async def _unlink(self, answer: Answer, *, source: str, target: str) -> None:
        space = self._session.shell.user_ns
        linked = book_in(space).targets(source)
        if not linked:  # every dependency is active: choose the others
            edges = Graph.of(self._session.service(self._variable(source)), space).edges
            others = [e.target for e in edges if e.source == source and e.active and e.target != target]
            lines = [f"{self._variable(source)}.link({self._variable(other)})" for other in others]
        else:
            others = [other for other in linked if other != target]
            lines = [f"{self._variable(source)}.unlink({self._variable(target)})"]
        if not others:
            raise LinkError(
                f"without {target} no link of {source} would be left, and then all of its dependencies are active",
                remedy="link another one first",
            )
        await self._linked(answer, source, lines)

    async def _linked(self, answer: Answer, source: str, lines: list[str]) -> None:
        """Runs the lines as a cell would; takes the links back if what is served cannot become so."""
        space = self._session.shell.user_ns
        answer.line("\n".join(lines))
        book = book_in(space)
        before = book.saved()
        try:
            for line in lines:
                exec(compile(line, f"<the drawing of {source}>", "exec"), space)  # noqa: S102
            Graph.of(self._session.service(self._variable(source)), space)
            await self._session.follow()
        except BaseException:
            book.restore(before)
            raise
        finally:
            self._session.page.redraw(between_cells=True)

    def _variable(self, service: str) -> str:
        """What the notebook calls a service."""
        space = self._session.shell.user_ns
        for name, value in space.items():
            if is_service(value) and definition_of(value).name == service and not name.startswith("_"):
                return str(name)
        raise TargetError(f"this notebook has no service {service!r}", remedy="run the cell that defines it")


class Answer:
    """Messages to the page about one question, from any thread."""

    def __init__(self, view: GraphView, number: int) -> None:
        self._view, self.number = view, number
        self._begun = time.monotonic()
        self._items: list[str] = []

    def line(self, code: str) -> None:
        """The line of code that does the same."""
        self._send(code=code)

    def item(self, value: Any) -> None:
        if not self._items:
            asyncio.get_running_loop().call_later(GATHER, self._flush)
        self._items.append(shown(value))

    def done(self, value: Any) -> None:
        self._flush()
        text = None if value is None else shown(value)
        self._send(done=True, value=text, seconds=time.monotonic() - self._begun)

    def failed(self, error: str) -> None:
        self._flush()
        self._send(error=error)

    def _flush(self) -> None:
        items, self._items = self._items, []
        if items:
            self._send(item=_cut("\n".join(items)))

    def _send(self, **said: Any) -> None:
        with suppress(Exception):  # the page, or the comm, has gone
            self._view.send({"id": self.number, **said})


def shown(value: Any) -> str:
    """A value as text: strings as they are, models and plain data as JSON."""
    if isinstance(value, str):
        return _cut(value)
    from pydantic_core import to_json

    return _cut(to_json(value, indent=2, fallback=repr).decode())


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}\n… {len(text) - LONGEST:,} more characters"


def _member(service: str) -> str:
    return f".{service}" if service.isidentifier() and not hasattr(Deployment, service) else f'["{service}"]'
