"""Every error that dynamo_nb raises, on one page.

An error says what happened, where, and what to do. A notebook shows it as one short block; the log of papermill has the
same text. Errors of a request travel between processes as data (`to_wire`, `from_wire`), so a caller can catch the
error of a worker by its class.

Length: one page has all errors.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import TracebackType
from typing import Any, ClassVar

_RED, _PLAIN = "\x1b[31m", "\x1b[0m"


def nearest_name(name: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """The known name that is most similar to `name`, ignoring case; "" if none has this likeness, 0 to 1."""
    by_lower = {k.lower(): k for k in sorted(known)}
    close = get_close_matches(name.lower(), by_lower, n=1, cutoff=likeness)
    return by_lower[close[0]] if close else ""


def suggestion(name: str, known: Iterable[str]) -> str:
    """A phrase for the remedy of an unknown name: the most similar known name, or the list of known names."""
    known = sorted(known)
    if similar := nearest_name(name, known):
        return f"did you mean {similar!r}?"
    if known:
        return "known are " + ", ".join(known)
    return "there are none"


@dataclass(frozen=True)
class Problem:
    """One fault in bad input. Its text is `path: message`, followed by the origin if there is one.

    The path is left out where the message names it: `'log' is an open file`.

    Attributes:
        message: Description of the error.
        path: The faulty value, such as `Backend.ServiceArgs.workers`; may be empty.
        origin: Location of the value, such as `config.yaml:7`; may be empty.
    """

    message: str
    path: str = ""
    origin: str = ""

    def __str__(self) -> str:
        named = not self.path or repr(self.path) in self.message
        text = self.message if named else f"{self.path}: {self.message}"
        return f"{text}  ({self.origin})" if self.origin else text


class DynamoError(Exception):
    """Base class of all errors of this package.

    Attributes:
        code: Identifies the class in data that is sent between processes.
        what: Description of the error.
        where: The cell, service, field or `file:line`; may be empty.
        remedy: Steps to correct the error; may be empty.
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
            lines.append(f"  hint: {self.remedy}")
        return "\n".join(lines)

    def _render_traceback_(self) -> list[str]:
        """The message that IPython shows instead of a traceback, whose frames would all be in this package."""
        head, *rest = f"{type(self).__name__}: {self}".splitlines()
        return [f"{_RED}{head}{_PLAIN}", *rest, *getattr(self, "__notes__", ())]


# --- mistakes in code, configuration and targets


class DefinitionError(DynamoError):
    """The declaration of a service, endpoint, hook or dependency is invalid."""

    code = "definition"


class LinkError(DefinitionError):
    """A link names a service that is not among the dependencies."""

    code = "link"


class ConfigError(DynamoError):
    """The configuration is invalid.

    Attributes:
        problems: Every fault that was found, as `Problem`.
    """

    code = "config"

    def __init__(self, problems: Sequence[Problem], *, what: str = "", remedy: str = "") -> None:
        self.problems = tuple(problems)
        what = what or ("the configuration is invalid" if len(self.problems) != 1 else str(self.problems[0]))
        if len(self.problems) > 1:
            what += "".join(f"\n  - {problem}" for problem in self.problems)
        super().__init__(what, remedy=remedy)


class SourceError(DynamoError):
    """The code of a service cannot be written as modules for workers.

    Attributes:
        problems: One `Problem` for each faulty name.
    """

    code = "source"

    def __init__(self, what: str, problems: Sequence[Problem] = (), *, where: str = "", remedy: str = "") -> None:
        self.problems = tuple(problems)
        super().__init__(what + "".join(f"\n  - {problem}" for problem in problems), where=where, remedy=remedy)


class TargetError(DynamoError):
    """A target (`module:Service`, a file, a notebook or a bundle) cannot be found or read."""

    code = "target"


class BundleError(DynamoError):
    """A bundle cannot be written, or it is incomplete or was altered."""

    code = "bundle"


class BaselineError(DynamoError):
    """A baseline file cannot be read, or a value cannot be a baseline."""

    code = "baseline"


# --- deployments


class DeploymentError(DynamoError):
    """A deployment cannot do this operation."""

    code = "deployment"


class PlacementError(DeploymentError):
    """The machine has too few GPUs, or a port is in use."""

    code = "placement"


class ContractError(DeploymentError):
    """Calls of other services would fail with a new version. It is held back, and the old version keeps serving.

    Attributes:
        problems: One `Problem` for each call that would fail.
    """

    code = "contract"

    def __init__(self, problems: Sequence[Problem], *, remedy: str = "") -> None:
        self.problems = tuple(problems)
        what = "held back, the old version keeps serving: " + (
            str(self.problems[0]) if len(self.problems) == 1 else "".join(f"\n  - {one}" for one in self.problems)
        )
        super().__init__(what.replace(": \n", ":\n"), remedy=remedy)


class NoSuchService(DeploymentError, AttributeError):
    """The deployment has no service of this name."""

    code = "no_such_service"


class StartError(DeploymentError):
    """A worker did not become ready.

    Attributes:
        traceback: The traceback of the exception in the worker, with cells in place of generated files.
        log: The last lines of the worker's log.
    """

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
    """NATS or a supervisor does not answer."""

    code = "connect"


class CellError(DeploymentError):
    """A cell that ran in a worker raised an exception.

    Attributes:
        traceback: The traceback as the worker's kernel shows it.
    """

    code = "cell"

    def __init__(self, what: str, *, where: str = "", traceback: str = "") -> None:
        super().__init__(what, where=where)
        self.traceback = traceback

    def _render_traceback_(self) -> list[str]:
        return [f"{_RED}in {self.where}{_PLAIN}", *self.traceback.splitlines()]


# --- calls


class RequestError(DynamoError):
    """A call failed."""

    code = "request"


class NoInstances(RequestError):
    """No worker serves this endpoint at the moment."""

    code = "no_instances"


class NoSuchEndpoint(RequestError, AttributeError):
    """The service has no endpoint of this name."""

    code = "no_such_endpoint"


class InvalidArgument(RequestError, ValueError):
    """An argument does not match the signature of the endpoint, or the service rejects it.

    Attributes:
        kind: "call" if the arguments do not match the signature or cannot be sent; "" if the service rejects them.
    """

    code = "invalid_argument"
    kind = ""


class EndpointError(RequestError):
    """The endpoint raised an exception.

    Attributes:
        kind: The name of the exception's class.
        traceback: The traceback in the worker, with cells in place of generated files.
    """

    code = "endpoint"

    def __init__(self, what: str, *, where: str = "", remedy: str = "", kind: str = "", traceback: str = "") -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.kind, self.traceback = kind, traceback

    def __str__(self) -> str:
        return super().__str__() + (f"\n{self.traceback.rstrip()}" if self.traceback else "")


class DependencyUnlinked(EndpointError):
    """The endpoint used a dependency that is not linked. Its attribute is None, so `if self.backend:` tests it."""

    code = "dependency_unlinked"


class WorkerLost(RequestError, ConnectionError):
    """The worker was lost before its answer was complete. It may have done the work."""

    code = "worker_lost"


class EngineError(RequestError):
    """An inference engine did not start, or it ended."""

    code = "engine"


class DeadlineExceeded(RequestError, TimeoutError):
    """The answer was not complete within the timeout of the call. The work was cancelled."""

    code = "deadline"


class ProtocolError(RequestError):
    """The peer sent data that does not follow the wire protocol."""

    code = "protocol"


# --- errors as data

LONGEST_TEXT = 32 * 1024
"""Characters of one text of an error that are sent or logged: a long traceback, but not a file."""

MOST_PROBLEMS, LONGEST_PROBLEM = 1000, 1000
"""Problems of one error that are sent, and characters of each of their texts."""


def readable(text: str, limit: int = LONGEST_TEXT) -> str:
    """Returns text that any encoding carries and a person can read: surrogates are escaped, the middle is left out.

    Args:
        text: Any text.
        limit: Most characters of it that are kept.
    """
    text = _cut(text, limit)
    escaped = text.encode("utf-8", "backslashreplace").decode()
    return _cut(escaped, limit) if len(escaped) > len(text) else escaped


def _cut(text: str, limit: int) -> str:
    half = limit // 2
    left_out = len(text) - 2 * half
    return f"{text[:half]}\n… {left_out:,} characters left out …\n{text[-half:]}" if left_out > 0 else text


def class_of(error: BaseException) -> str:
    """Returns the name of the class of any exception, whatever its metaclass says."""
    return str(type.__dict__["__name__"].__get__(type(error)))


def message_of(error: BaseException) -> str:
    """Returns the message of any exception, `readable`; a phrase if its own class cannot write it."""
    try:
        return readable(str(error))
    except BaseException as fault:  # of a user's exception class
        return f"(no message: its __str__ raised {readable(class_of(fault))})"


def summary_of(error: BaseException) -> str:
    """Returns the class and the message of any exception, `readable`."""
    return f"{readable(class_of(error))}: {message_of(error)}"


def traceback_of(error: BaseException, frames: TracebackType | list[traceback.FrameSummary] | None) -> str:
    """Returns the traceback of any exception, `readable`.

    Args:
        error: The exception.
        frames: Its traceback, or the entries of it that are shown.
    """
    try:
        shown = traceback.TracebackException(type(error), error, None if isinstance(frames, list) else frames)
        if isinstance(frames, list):
            shown.stack = traceback.StackSummary.from_list(frames)
        chain = not isinstance(frames, list)
        lines = shown.format(chain=chain) if frames else shown.format_exception_only()
        return readable("".join(lines))
    except BaseException:  # of a user's exception class, such as a property that raises
        listed = frames if isinstance(frames, list) else traceback.extract_tb(frames)
        return readable("".join([*traceback.format_list(listed), summary_of(error), "\n"]))


def _subclasses(base: type[DynamoError]) -> Iterable[type[DynamoError]]:
    for child in base.__subclasses__():
        yield child
        yield from _subclasses(child)


def to_wire(error: DynamoError) -> dict[str, Any]:
    """Converts an error to plain data for another process.

    Args:
        error: Any error of this package.

    Returns:
        A dict with `code`, `what`, `where`, `remedy` and the attributes that the class adds.
    """
    data: dict[str, Any] = {"code": _text_of(error, "code", DynamoError.code)}
    data["what"] = _text_of(error, "what", message_of(error))  # a subclass may not have called this __init__
    for field in ("where", "remedy", "kind", "traceback", "log"):
        value = _text_of(error, field)
        if value or field in {"where", "remedy"}:
            data[field] = value
    if problems := _problems_of(error):
        data["problems"] = problems
    return data


def _problems_of(error: DynamoError) -> list[list[str]]:
    try:
        known = [p for p in getattr(error, "problems", ())[:MOST_PROBLEMS] if isinstance(p, Problem)]
        return [[readable(str(text), LONGEST_PROBLEM) for text in (p.message, p.path, p.origin)] for p in known]
    except BaseException:  # a user's subclass of an error
        return []


def _text_of(error: DynamoError, field: str, default: str = "") -> str:
    try:
        return readable(str(getattr(error, field, default)))
    except BaseException:  # a user's subclass of an error
        return default


def from_wire(data: dict[str, Any]) -> DynamoError:
    """Restores an error from the data of `to_wire`.

    Args:
        data: The dict that `to_wire` returned, possibly in another version of this package.

    Returns:
        An error of the same class; a `DynamoError` if the code is unknown.
    """
    kinds: dict[str, type[DynamoError]] = {}
    for known in _subclasses(DynamoError):
        kinds.setdefault(known.code, known)  # before a user's subclass, which inherits its code
    kind = kinds.get(data.get("code", ""), DynamoError)
    error = kind.__new__(kind)
    Exception.__init__(error, data.get("what", ""))
    error.what, error.where, error.remedy = data.get("what", ""), data.get("where", ""), data.get("remedy", "")
    for field in ("kind", "traceback", "log"):
        setattr(error, field, data.get(field, ""))
    error.__dict__["problems"] = tuple(Problem(*p) for p in data.get("problems", ()))
    return error
