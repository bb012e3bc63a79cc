"""Every error that dynamo_nb raises, on one page.

An error says what happened, where, and what to do about it. In a notebook it is shown as one short block; papermill's
log carries the same text. Errors about a request travel between processes as data (`to_wire`, `from_wire`), so that
the caller can catch what the worker raised by its kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, ClassVar

_RED, _PLAIN = "\x1b[31m", "\x1b[0m"


def suggestion(name: str, known: Iterable[str]) -> str:
    """A phrase for the remedy of an unknown name: the most similar known name, or the list of known names."""
    known = sorted(known)
    lower = {k.lower(): k for k in known}
    if close := get_close_matches(name.lower(), lower, n=1, cutoff=0.6):
        return f"did you mean {lower[close[0]]!r}?"
    if known:
        return "known are " + ", ".join(known)
    return "there are none"


@dataclass(frozen=True)
class Problem:
    """One fault in bad input: `message @ path`, with the origin of the value (`config.yaml:7`) where it has one."""

    message: str
    path: str = ""
    origin: str = ""

    def __str__(self) -> str:
        text = f"{self.message} @ {self.path}" if self.path else self.message
        return f"{text}  ({self.origin})" if self.origin else text


class DynamoError(Exception):
    """Base of all errors of this package.

    what: what happened. where: cell, service, field path or file:line. remedy: what to do.
    """

    code: ClassVar[str] = "error"

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.remedy = what, where, remedy

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.remedy:
            lines.append(f"  to do: {self.remedy}")
        return "\n".join(lines)

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback: the frames are ours, the mistake is not in them."""
        head, *rest = f"{type(self).__name__}: {self}".splitlines()
        return [f"{_RED}{head}{_PLAIN}", *rest]


# --- what a person wrote -----------------------------------------------------------------------------------------


class DefinitionError(DynamoError):
    """A service, endpoint, hook or dependency is declared in a way that cannot work."""

    code = "definition"


class LinkError(DefinitionError):
    """A link names something that the service does not depend on."""

    code = "link"


class ConfigError(DynamoError):
    """Configuration that cannot be used; `problems` holds every fault found, not just the first."""

    code = "config"

    def __init__(self, problems: Sequence[Problem], *, what: str = "", remedy: str = "") -> None:
        self.problems = tuple(problems)
        what = what or ("the configuration cannot be used" if len(self.problems) != 1 else str(self.problems[0]))
        if len(self.problems) > 1:
            what += "".join(f"\n  - {problem}" for problem in self.problems)
        super().__init__(what, remedy=remedy)


class SourceError(DynamoError):
    """A service's code cannot be made into modules; `problems` holds every name that is at fault."""

    code = "source"

    def __init__(self, what: str, problems: Sequence[Problem] = (), *, where: str = "", remedy: str = "") -> None:
        self.problems = tuple(problems)
        super().__init__(what + "".join(f"\n  - {problem}" for problem in problems), where=where, remedy=remedy)


class TargetError(DynamoError):
    """What was asked to be served (`module:Service`, a file, a notebook, a bundle) cannot be found or read."""

    code = "target"


class BundleError(DynamoError):
    """A bundle is incomplete, or is not what was exported."""

    code = "bundle"


# --- what a deployment met ---------------------------------------------------------------------------------------


class DeploymentError(DynamoError):
    """A deployment cannot do what was asked of it."""

    code = "deployment"


class PlacementError(DeploymentError):
    """The machine has too few GPUs, or a port is taken."""

    code = "placement"


class NoSuchService(DeploymentError, AttributeError):
    """The deployment serves no service of this name."""

    code = "no_such_service"


class StartError(DeploymentError):
    """A worker did not become ready. `traceback` has the user's lines, `log` the last lines of its log."""

    code = "start"

    def __init__(self, what: str, *, where: str = "", remedy: str = "", traceback: str = "", log: str = "") -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.traceback, self.log = traceback, log

    def __str__(self) -> str:
        parts = [super().__str__()]
        if self.traceback:
            parts.append(self.traceback.rstrip())
        if self.log:
            parts.append("last lines of its log:\n" + self.log.rstrip())
        return "\n".join(parts)


class ConnectError(DeploymentError):
    """NATS, or a supervisor, does not answer."""

    code = "connect"


class CellError(DeploymentError):
    """A cell that ran inside a worker raised. `traceback`: what the worker's kernel shows of it."""

    code = "cell"

    def __init__(self, what: str, *, where: str = "", traceback: str = "") -> None:
        super().__init__(what, where=where)
        self.traceback = traceback

    def _render_traceback_(self) -> list[str]:
        return [f"{_RED}in {self.where}{_PLAIN}", *self.traceback.splitlines()]


# --- what a call met ---------------------------------------------------------------------------------------------


class RequestError(DynamoError):
    """A call did not give its answer."""

    code = "request"


class NoInstances(RequestError):
    """No worker serves this endpoint now."""

    code = "no_instances"


class NoSuchEndpoint(RequestError, AttributeError):
    """The service has no endpoint of this name."""

    code = "no_such_endpoint"


class InvalidArgument(RequestError, ValueError):
    """An argument does not fit the endpoint's signature."""

    code = "invalid_argument"


class EndpointError(RequestError):
    """The endpoint raised. `kind` is the exception's class name, `traceback` the remote one with the user's lines."""

    code = "endpoint"

    def __init__(self, what: str, *, where: str = "", remedy: str = "", kind: str = "", traceback: str = "") -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.kind, self.traceback = kind, traceback

    def __str__(self) -> str:
        return super().__str__() + (f"\n{self.traceback.rstrip()}" if self.traceback else "")


class WorkerLost(RequestError, ConnectionError):
    """The worker went away before the answer was complete; the work may have been done."""

    code = "worker_lost"


class EngineError(RequestError):
    """An inference engine did not start, or has died."""

    code = "engine"


class DeadlineExceeded(RequestError, TimeoutError):
    """The request was not answered in the time that it had; the worker was told to stop."""

    code = "deadline"


class ProtocolError(RequestError):
    """The peer sent something that is no frame of this protocol."""

    code = "protocol"


# --- errors as data ----------------------------------------------------------------------------------------------


def _subclasses(base: type[DynamoError]) -> Iterable[type[DynamoError]]:
    for child in base.__subclasses__():
        yield child
        yield from _subclasses(child)


def to_wire(error: DynamoError) -> dict[str, Any]:
    """The error as plain data: code, what, where, remedy, and the fields that its class adds."""
    data: dict[str, Any] = {"code": error.code, "what": error.what, "where": error.where, "remedy": error.remedy}
    for field in ("kind", "traceback", "log"):
        if value := getattr(error, field, ""):
            data[field] = value
    if problems := getattr(error, "problems", ()):
        data["problems"] = [[p.message, p.path, p.origin] for p in problems]
    return data


def from_wire(data: dict[str, Any]) -> DynamoError:
    """The error that `to_wire` described; an unknown code gives a plain DynamoError."""
    kinds = {kind.code: kind for kind in _subclasses(DynamoError)}
    kind = kinds.get(data.get("code", ""), DynamoError)
    error = kind.__new__(kind)
    Exception.__init__(error, data.get("what", ""))
    error.what, error.where, error.remedy = data.get("what", ""), data.get("where", ""), data.get("remedy", "")
    for field in ("kind", "traceback", "log"):
        setattr(error, field, data.get(field, ""))
    error.__dict__["problems"] = tuple(Problem(*p) for p in data.get("problems", ()))
    return error
