"""Actions of a user with the mouse in a graph. Each has an equivalent line of code.

Actions on a deployment run on the portal's loop, so they do not wait for the cell that is running. Links belong to the
variables of the notebook, so they are changed between cells.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

from dynamo_nb.deployment.deployment import Deployment
from dynamo_nb.errors import DynamoError, TargetError, message_of, summary_of
from dynamo_nb.notebook.answer import Answer
from dynamo_nb.notebook.exec_in_worker import find
from dynamo_nb.notebook.graph_widget import GraphWidget
from dynamo_nb.notebook.link_actions import LinkActions
from dynamo_nb.notebook.variables import Variables
from dynamo_nb.observe.waterfall_svg import svg
from dynamo_nb.sdk.portal import portal

BetweenCells = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]
"""Runs a coroutine function in the kernel when no cell is running."""
Action = Callable[..., Coroutine[Any, Any, Any]]


class Actions:
    """Runs the actions that graph widgets request.

    Args:
        variables: The variables of the notebook.
        links: The actions on links.
        between_cells: Runs work when no cell is running.
    """

    def __init__(self, variables: Variables, links: LinkActions, between_cells: BetweenCells) -> None:
        self._variables, self._links, self._between_cells = variables, links, between_cells
        self._calls: dict[tuple[GraphWidget, int], Future[None]] = {}

    def start(self, deployment: Deployment | None, widget: GraphWidget, message: dict[str, Any]) -> None:
        """Starts the action that a message requests, and returns at once.

        Args:
            deployment: The deployment of the widget's graph; None if it is not served.
            widget: The widget that sent the message.
            message: `do` is the action, `id` the id of the request, the rest are arguments of the action.
        """
        arguments = {key: value for key, value in message.items() if key not in {"do", "id"}}
        name, answer = message.get("do"), Answer(widget, int(message.get("id", 0)))
        on_links: dict[Any, Action] = {"link": self._links.link, "unlink": self._links.unlink}
        on_deployment: dict[Any, Action] = {
            "call": self._call,
            "trace": self._trace,
            "restart": self._restart,
            "scale": self._scale,
            "stop": self._stop,
            "console": self._console,
        }
        if name == "cancel":
            self._cancel(widget, **arguments)
        elif name in on_links:
            self._between_cells(lambda: answered(answer, on_links[name], **arguments))
        elif name not in on_deployment:
            answer.failed(f"unknown action {name!r}")
        elif deployment is None:
            answer.failed("nothing is being served: run `deployment = await serve(…)` first")
        else:
            work = answered(answer, on_deployment[name], deployment, **arguments)
            running = asyncio.run_coroutine_threadsafe(work, portal.loop)
            if name in {"call", "trace"}:
                self._calls[widget, answer.request_id] = running
                running.add_done_callback(lambda _: self._calls.pop((widget, answer.request_id), None))

    def _cancel(self, widget: GraphWidget, *, call: int) -> None:
        if (running := self._calls.get((widget, call))) is not None:
            running.cancel()

    def _variable(self, deployment: Deployment) -> str:
        return self._variables.variable_of(deployment, default="deployment")

    async def _call(
        self, answer: Answer, deployment: Deployment, *, service: str, endpoint: str, arguments: str
    ) -> Any:
        call, code = self._written(deployment, service, endpoint, arguments)
        endpoints = deployment.graph.services[service].endpoints
        stream = next(e.stream for e in endpoints.values() if endpoint in {e.attribute, e.name})
        if not stream:
            answer.code(f"await {code}")
            return await call
        answer.code(f"async for item in {code}: print(item)")
        async for item in call:
            answer.item(item)
        return None

    async def _trace(
        self, answer: Answer, deployment: Deployment, *, service: str, endpoint: str, arguments: str
    ) -> Any:
        call, code = self._written(deployment, service, endpoint, arguments)
        answer.code(f"await {self._variable(deployment)}.trace({code})")
        trace = await deployment.trace(call)
        answer.draw(svg(trace.waterfall))
        return trace.value

    def _written(self, deployment: Deployment, service: str, endpoint: str, arguments: str) -> tuple[Any, str]:
        """A call, and its code."""
        given = json.loads(arguments)
        if not isinstance(given, dict):
            raise TargetError(f"the arguments are not a JSON object: {arguments}", remedy='write {"name": value, …}')
        call = getattr(deployment[service], endpoint)(**given)
        written = ", ".join(f"{name}={value!r}" for name, value in given.items())
        return call, f"{self._variable(deployment)}{_member(service)}.{endpoint}({written})"

    async def _restart(self, answer: Answer, deployment: Deployment, *, service: str) -> None:
        answer.code(f'await {self._variable(deployment)}.restart("{service}")')
        await deployment.restart(service)

    async def _scale(self, answer: Answer, deployment: Deployment, *, service: str, workers: int) -> None:
        argument = f"{service}={workers}" if service.isidentifier() else f"**{{{service!r}: {workers}}}"
        answer.code(f"await {self._variable(deployment)}.scale({argument})")
        await deployment.scale(**{service: workers})

    async def _stop(self, answer: Answer, deployment: Deployment) -> None:
        answer.code(f"await {self._variable(deployment)}.stop()")
        await deployment.stop()

    async def _console(self, answer: Answer, deployment: Deployment, *, service: str, index: int) -> str:
        answer.code(f"%dynamo console {service}[{index}]")
        _, workers = find([deployment], f"{service}[{index}]")
        return "\n".join(worker.command for worker in workers)


async def answered(answer: Answer, action: Action, *args: Any, **arguments: Any) -> None:
    """Runs an action and sends its result or its error, whatever the error is: the browser waits for one of them.

    Args:
        answer: The answer of the request; the first argument of the action.
        action: The action.
        args: Further positional arguments.
        arguments: Arguments from the browser.
    """
    try:
        answer.done(await action(answer, *args, **arguments))
    except DynamoError as error:
        answer.failed(message_of(error))
    except asyncio.CancelledError:
        answer.failed("cancelled")
    except BaseException as error:  # SystemExit too: it would end the loop of all deployments
        answer.failed(summary_of(error))


def _member(service: str) -> str:
    return f".{service}" if service.isidentifier() and not hasattr(Deployment, service) else f'["{service}"]'
