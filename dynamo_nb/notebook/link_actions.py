"""Links that a user makes or removes with the mouse, in the notebook's own graph."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from dynamo_nb.errors import LinkError
from dynamo_nb.graph.graph import Graph
from dynamo_nb.notebook.answer import Answer
from dynamo_nb.notebook.variables import Variables
from dynamo_nb.sdk.links import book_in


class LinkActions:
    """Runs the code that a cell would run. It must run between cells, as cells do.

    Args:
        variables: The variables of the notebook.
        update: Updates the deployments to changed links; raises DynamoError if that fails.
        redraw: Redraws the graphs.
    """

    def __init__(self, variables: Variables, update: Callable[[], Awaitable[None]], redraw: Callable[[], None]) -> None:
        self._variables, self._update, self._redraw = variables, update, redraw

    async def link(self, answer: Answer, *, source: str, target: str) -> None:
        """Links two services. Raises LinkError if they are linked, or if `source` does not depend on `target`."""
        if target in book_in(self._variables.namespace).targets(source):
            raise LinkError(f"{source} is already linked to {target}")
        await self._run(answer, source, [f"{self._variable(source)}.link({self._variable(target)})"])

    async def unlink(self, answer: Answer, *, source: str, target: str, force: bool = False) -> None:
        """Removes a link.

        Args:
            answer: The answer of the request.
            source: The service that calls.
            target: The service that it is linked to.
            force: Remove it also while calls are made on it.

        Raises:
            LinkError: It is the last link of the service.
            ContractError: Calls are made on it.
        """
        linked = book_in(self._variables.namespace).targets(source)
        if not linked:  # all dependencies are active: link the others
            edges = self._graph(source).edges
            others = [e.target for e in edges if e.source == source and e.active and e.target != target]
            lines = [f"{self._variable(source)}.link({self._variable(other)})" for other in others]
        else:
            others = [other for other in linked if other != target]
            lines = [] if force else [f"{self._variable(source)}.unlink({self._variable(target)})"]
        if force:
            lines.append(f"{self._variable(source)}.unlink({self._variable(target)}, force=True)")
        if not others:
            raise LinkError(
                f"{target} is the only link of {source}; without links, all dependencies of {source} are active",
                remedy="link another one first",
            )
        await self._run(answer, source, lines)

    async def _run(self, answer: Answer, source: str, lines: list[str]) -> None:
        """Runs lines of code, and restores the links if the deployments cannot be updated."""
        namespace = self._variables.namespace
        answer.code("\n".join(lines))
        book = book_in(namespace)
        before = book.saved()
        try:
            for line in lines:
                exec(compile(line, f"<drawing of {source}>", "exec"), namespace)  # noqa: S102
            self._graph(source)
            await self._update()
        except BaseException:
            book.restore(before)
            raise
        finally:
            self._redraw()

    def _graph(self, source: str) -> Graph:
        return Graph.of(self._variables.service(self._variable(source)), self._variables.namespace)

    def _variable(self, service: str) -> str:
        return self._variables.variable_of_service(service)
