"""Interface between verbs and the program that runs them: a terminal or a notebook."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from dynamo_nb.control.record import Record
    from dynamo_nb.deployment.deployment import Deployment
    from dynamo_nb.deployment.plan_source import PlanSource
    from dynamo_nb.deployment.serve_options import ServeOptions
    from dynamo_nb.graph.graph import Graph
    from dynamo_nb.observe.display import Display
    from dynamo_nb.observe.load_shape import LoadShape
    from dynamo_nb.observe.log_reader import LogRequest


class VerbHost(ABC):
    """The program that runs verbs. `TerminalHost` and the notebook's `NotebookHost` are the two implementations.

    Attributes:
        prefix: The word before a verb, such as `dynamo`.
        example_target: The target in help texts.
        is_terminal: True if output is lines of text, False in a notebook.
    """

    prefix: ClassVar[str]
    example_target: ClassVar[str]
    is_terminal: ClassVar[bool]

    # --- targets ---------------------------------------------------------------------------------------------------

    def plan_source(
        self,
        target: str,
        *,
        files: Sequence[str] = (),
        config_words: Sequence[str] = (),
        working_dir: Path | None = None,
        namespace: str | None = None,
    ) -> PlanSource:
        """Returns the source of plans for a target with its configuration.

        Args:
            target: Target as the user named it, such as `hello.py:Frontend`.
            files: YAML configuration files, lowest layer first.
            config_words: Configuration from the command line; overrides the files.
            working_dir: The folder in which the target is looked up; the current one by default.
            namespace: The namespace for the whole graph; None for the namespaces in the code.

        Raises:
            TargetError: The target was not found.
            ConfigError: A configuration file cannot be read.
        """
        from dynamo_nb.deployment.config_layers import layers_of
        from dynamo_nb.deployment.plan_source import FixedProgram
        from dynamo_nb.program import find

        layers = layers_of(files, config_words)
        return FixedProgram(found=find(target, working_dir), configs=layers, namespace=namespace)

    @abstractmethod
    def export_served(self, folder: Path) -> Path:
        """Exports the running deployment of this program. Called for `export FOLDER`, without a target.

        Raises:
            DynamoError: The deployment was not found.
        """

    # --- deployments -----------------------------------------------------------------------------------------------

    def record(self, which: str | None) -> Record:
        """Returns the running deployment that a verb is about.

        Args:
            which: Its id, the beginning of it, or its name; None if only one is running.

        Raises:
            DeploymentError: None matches, or several do.
        """
        from dynamo_nb.deployment.attach import running_record

        return running_record(which)

    def deployment(self, which: str | None) -> Deployment:
        """Returns a connected `Deployment`. Raises what `record` does, and ConnectError."""
        from dynamo_nb.deployment.start import connect
        from dynamo_nb.sdk.portal import portal

        return portal.run(connect(self.record(which)))

    # --- output ----------------------------------------------------------------------------------------------------

    def show(self, value: Any) -> None:
        """Prints or displays a value."""
        print(value, flush=True)

    def remark(self, text: str) -> None:
        """Shows a message that is not part of the output, such as the message for an empty log.

        Args:
            text: The message.
        """
        self.show(text)

    @abstractmethod
    def result(self, value: Any) -> Any:
        """Shows the result of a verb, or returns it where the caller displays it."""

    @abstractmethod
    def display(self) -> Display:
        """Returns a new display for something that changes, such as progress."""

    @abstractmethod
    def draw(self, target: str, graph: Graph) -> Any:
        """Shows the graph of a target."""

    @abstractmethod
    def interruptible(self) -> AbstractContextManager[None]:
        """Returns a context for work without an end. An interrupt is the usual way to end it."""

    # --- work that takes long --------------------------------------------------------------------------------------

    @abstractmethod
    def serve(self, source: PlanSource, options: ServeOptions) -> Any:
        """Serves a graph.

        Args:
            source: Source of its plans.
            options: Options of the deployment.
        """

    @abstractmethod
    def attach(self, which: str | None) -> Any:
        """Follows a running deployment. Raises what `record` does."""

    def bench(self, which: str | None, target: str, payload: str | None, shape: LoadShape, *, background: bool) -> Any:
        """Sends load to an endpoint.

        Args:
            which: The deployment, as for `record`.
            target: The endpoint, such as `Frontend.generate`.
            payload: The arguments as JSON, or `@file`; None for no arguments.
            shape: Rate, duration and limits of the load.
            background: Return at once, while the load runs.

        Returns:
            The measurement; with `background` the run itself.
        """
        from dynamo_nb.observe.request import Request

        deployment = self.deployment(which)
        calls = [request.call() for request in Request.parse_all(deployment, target, payload)]
        # The whole result follows below in a terminal, so one line is enough there.
        run = deployment.bench(*calls, **vars(shape)).on(self.display, line=not self.is_terminal)
        return run.start() if background else run.result()

    def logs(self, record: Record, request: LogRequest, *, times: bool) -> None:
        """Shows logs as text, with `request.follow` until the deployment ends.

        Args:
            record: The deployment.
            request: The lines to show.
            times: True to show the time of each line.
        """
        from dynamo_nb.observe.log_reader import LogText, read_logs
        from dynamo_nb.sdk.portal import portal

        coloured = self.is_terminal and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        written = LogText(times=times, coloured=coloured)

        async def show() -> None:
            async with aclosing(read_logs(record, request)) as groups:
                async for lines in groups:
                    if lines:  # in one message: the cost in a notebook is per message, not per line
                        self.show(written.text(lines))
                    else:
                        self.remark(request.nothing)

        with self.interruptible():
            portal.run(show())

    @abstractmethod
    def follow_events(self, record: Record, number: int) -> None:
        """Shows the events of a deployment, and then new events until it ends.

        Args:
            record: The deployment.
            number: Number of earlier events to show.
        """

    @abstractmethod
    def top(self, record: Record, *, once: bool) -> None:
        """Shows tables of the load of a deployment.

        Args:
            record: The deployment.
            once: Show one table instead of a live one.
        """
