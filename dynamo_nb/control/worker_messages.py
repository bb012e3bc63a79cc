"""Messages between the supervisor and a worker, over the worker's lifeline.

The supervisor sends commands, the worker sends reports. `begin`, `serve`, `reconfigure` and `stop` run one after the
other. The worker answers `measure`, `read spans`, `read http` and `ping` at once.
"""

from __future__ import annotations

import signal
from typing import Any, Final, Literal

import msgspec

from dynamo_nb.control.events import ServiceError
from dynamo_nb.control.framing import Message

STACK_SIGNAL: Final = signal.SIGUSR1
"""Makes a worker write its stacks to its log. That needs no Python code, so it works while the worker hangs."""


class _Command(msgspec.Struct, frozen=True, tag_field="command"):
    pass


class Begin(_Command, frozen=True, tag="begin"):
    """Build the service and run its start hooks."""


class Serve(_Command, frozen=True, tag="serve"):
    """Register the endpoints and take requests."""


class Reconfigure(_Command, frozen=True, tag="reconfigure"):
    """Change the configuration of the running service.

    Attributes:
        number: identifies the answer.
        config: the text of DYNAMO_SERVICE_CONFIG.
        version: version that its instances register from then on.
    """

    number: int
    config: str
    version: str


class Stop(_Command, frozen=True, tag="stop"):
    """Finish the requests in flight, run the shutdown hooks and end. grace: seconds; None for no limit."""

    grace: float | None = None


class Measure(_Command, frozen=True, tag="measure"):
    """Report the counts of requests."""


class ReadSpans(_Command, frozen=True, tag="read spans"):
    """Report the spans of a trace."""

    trace: str


class ReadHttp(_Command, frozen=True, tag="read http"):
    """Report on the HTTP application.

    Attributes:
        number: identifies the answer.
        what: `routes` for the description of the routes, `requests` for the latest requests.
        after: with `requests`, the number of the last known request.
    """

    number: int
    what: Literal["routes", "requests"]
    after: int = 0


class Ping(_Command, frozen=True, tag="ping"):
    """Answer from the event loop, and run the liveness hooks."""


Command = Begin | Serve | Reconfigure | Stop | Measure | ReadSpans | ReadHttp | Ping


class _Report(msgspec.Struct, frozen=True, tag_field="report"):
    pass


class Prepared(_Report, frozen=True, tag="prepared"):
    """The start hooks have run."""


class Ready(_Report, frozen=True, tag="ready"):
    """The worker takes requests. url: URL of its HTTP endpoints, or ""."""

    url: str
    instance_id: str


class Draining(_Report, frozen=True, tag="draining"):
    """The worker takes no new requests."""


class Failure(msgspec.Struct, frozen=True):
    """An error of the service.

    Attributes:
        error: type and message, on one line.
        traceback: with the user's lines only.
        log_size: bytes of the log before the error was written to it.
        cause: the error as `errors.to_wire` returns it, if it is one of this package; else empty.
    """

    error: str
    traceback: str
    log_size: int
    cause: dict[str, Any] = {}


class Failed(_Report, frozen=True, tag="failed"):
    """The service did not start."""

    failure: Failure


class Reconfigured(_Report, frozen=True, tag="reconfigured"):
    """The answer to `Reconfigure`. failure: why the configuration stays as it was."""

    number: int
    failure: Failure | None = None


class Measured(_Report, frozen=True, tag="measured"):
    """Counts of the requests that were `served` and `called`, by service and endpoint. Also sent at the end."""

    reading: dict[str, Any]


class Raised(_Report, frozen=True, tag="raised"):
    """Errors of endpoints since the last report. `count` is the number of occurrences since then."""

    errors: list[ServiceError]


class Spans(_Report, frozen=True, tag="spans"):
    """The spans of a trace; of all traces, without `trace`, at the end."""

    spans: list[dict[str, Any]]
    trace: str | None = None


class Http(_Report, frozen=True, tag="http"):
    """The answer to `ReadHttp`. found: the result of `HttpRoutes.load`, or a list of requests."""

    number: int
    found: Any


class Alive(_Report, frozen=True, tag="alive"):
    """The event loop runs: the answer to `Ping`."""


class Liveness(_Report, frozen=True, tag="liveness"):
    """The result of the liveness hooks. fault: what is wrong, or ""."""

    fault: str


Report = Prepared | Ready | Draining | Failed | Reconfigured | Measured | Raised | Spans | Http | Alive | Liveness


def as_message(sent: Command | Report) -> Message:
    """A message for the framing, which turns the values of users that JSON does not have into text."""
    tag = sent.__struct_config__
    fields = msgspec.structs.asdict(sent).items()
    return {str(tag.tag_field): tag.tag, **{name: _plain(value) for name, value in fields}}


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value)
    return [_plain(item) for item in value] if isinstance(value, list) else value


def command_from(message: Message) -> Command:
    """Reads a command from what `as_message` returned."""
    command: Command = msgspec.convert(message, Command)
    return command


def report_from(message: Message) -> Report:
    """Reads a report from what `as_message` returned."""
    report: Report = msgspec.convert(message, Report)
    return report
