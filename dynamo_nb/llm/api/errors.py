"""Errors in the form of OpenAI's API, as an HTTP client receives them."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from dynamo_nb.errors import DeadlineExceeded, EngineError, InvalidArgument, NoInstances, WorkerLost

INVALID: Final = "invalid_request_error"
SERVER: Final = "server_error"
BUSY: Final = "rate_limit_error"
MAX_MESSAGE: Final = 800  # characters of a message, which may quote megabytes that a client sent
# Errors of processors and engines, including vLLM's, mention the context only in their text.
_TOO_LONG = re.compile(r"\d+ (input )?tokens\b.*\bcontext\b|\bcontext length\b", re.DOTALL)
_PARAM = re.compile(r"[a-z_]+(\[\d+\])?(\.[a-z_]+(\[\d+\])?)*")


def shortened(text: str) -> str:
    """Returns the text; without its middle if it is longer than MAX_MESSAGE."""
    half = MAX_MESSAGE // 2
    return text if len(text) <= MAX_MESSAGE else f"{text[: half - 1]} … {text[2 - half :]}"


class ApiError(Exception):
    """An error as the answer to a request.

    Args:
        message: The message; long ones are shortened.
        status: The HTTP status.
        kind: OpenAI's `type` of the error.
        param: The parameter at fault.
        code: OpenAI's `code` of the error, for programs.
        headers: Additional HTTP headers.
    """

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
        """Returns the body of the answer."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": error}

    def json(self) -> bytes:
        """Returns the body as JSON."""
        return msgspec.json.encode(self.content())

    def event(self) -> bytes:
        """Returns the error as the last event of a stream that has begun."""
        return b"data: " + self.json() + b"\n\n"


def api_error(error: BaseException) -> ApiError:
    """Returns an exception as an ApiError: a client's own mistake in full, a failure of the server without details."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, InvalidArgument):
        code = "context_length_exceeded" if _TOO_LONG.search(error.what) else None
        param = error.where if _PARAM.fullmatch(error.where) else None
        return ApiError(f"{error.what}; {error.remedy}" if error.remedy else error.what, param=param, code=code)
    if isinstance(error, NoInstances):
        return ApiError("No worker serves this model at the moment; try again later.", status=503, kind=SERVER)
    if isinstance(error, DeadlineExceeded):
        return ApiError("The server did not answer in time; try again.", status=503, kind=SERVER)
    if isinstance(error, WorkerLost | EngineError):
        return ApiError("The workers that served this request were lost; try again.", status=503, kind=SERVER)
    return ApiError("The server failed to answer; see its log for the cause.", status=500, kind=SERVER)
