"""What an HTTP client is told when a request fails, in the form of OpenAI's API."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from dynamo_nb.errors import DeadlineExceeded, EngineError, InvalidArgument, NoInstances, WorkerLost

INVALID: Final = "invalid_request_error"
SERVER: Final = "server_error"
BUSY: Final = "rate_limit_error"
LONGEST_TOLD: Final = 800  # characters of a message: what a client sent may stand in it, and that may be megabytes
# Processors and engines, vLLM's own too, speak of the context in words alone.
_TOO_LONG = re.compile(r"\d+ (input )?tokens\b.*\bcontext\b|\bcontext length\b", re.DOTALL)
_PARAM = re.compile(r"[a-z_]+(\[\d+\])?(\.[a-z_]+(\[\d+\])?)*")


def shortened(text: str) -> str:
    """The text without its middle, if it is longer than LONGEST_TOLD: what matters stands at both ends."""
    half = LONGEST_TOLD // 2
    return text if len(text) <= LONGEST_TOLD else f"{text[: half - 1]} … {text[2 - half :]}"


class ApiError(Exception):
    """An answer that is an error. param: the parameter at fault. code: what programs look at, where there is one."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = INVALID,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.message = shortened(message)
        super().__init__(self.message)
        self.status, self.kind, self.param, self.code = status, kind, param, code
        self.headers = headers or {}

    def content(self) -> dict[str, Any]:
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": error}

    def json(self) -> bytes:
        return msgspec.json.encode(self.content())

    def event(self) -> bytes:
        """The last event of a stream that has begun already."""
        return b"data: " + self.json() + b"\n\n"


def api_error(error: BaseException) -> ApiError:
    """What a client is told of an exception: of its own mistakes all, of ours nothing but that there is one."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, InvalidArgument):
        code = "context_length_exceeded" if _TOO_LONG.search(error.what) else None
        param = error.where if _PARAM.fullmatch(error.where) else None
        return ApiError(f"{error.what}; {error.remedy}" if error.remedy else error.what, param=param, code=code)
    if isinstance(error, NoInstances):
        return ApiError("No worker serves this model now: try again soon.", status=503, kind=SERVER)
    if isinstance(error, DeadlineExceeded):
        return ApiError("The server did not answer in time: try again.", status=503, kind=SERVER)
    if isinstance(error, WorkerLost | EngineError):
        return ApiError("The workers that served this request were lost: try again.", status=503, kind=SERVER)
    return ApiError("The server failed to answer; its log says why.", status=500, kind=SERVER)
