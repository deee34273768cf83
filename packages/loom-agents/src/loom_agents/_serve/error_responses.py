"""The responses for errors: one shape, one status for each kind."""

from collections.abc import Mapping
from typing import Final

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from flow_xray.terminal import visible_line
from loom_runner import RunBusy, RunnerError, StoreError, UnknownRun, UsageError
from loom_runner.errors import IllegalMove, LeaseLost, RunExists, UnknownApproval, UnknownToolCall
from starlette.exceptions import HTTPException as StarletteHTTPException

from loom_agents._errors import AgentError, ModelError, NotPermittedError

__all__ = ["error_response"]

_MAX_CHARACTERS: Final = 900
"""Messages quote what a client sent, which may be long."""


async def error_response(request: Request, exc: Exception) -> JSONResponse:
    """Return every error in one shape: {"error": {"type", "message"}}."""
    del request
    if isinstance(exc, StarletteHTTPException):
        detail = str(exc.detail)
        text = detail if detail.startswith("cannot ") else f"cannot answer: {detail.lower()}."
        return _error(exc.status_code, "Refused", text, exc.headers)
    if isinstance(exc, RequestValidationError):
        first = exc.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return _error(400, "Refused", f"cannot read the request: {where}: {first['msg'].lower()}.")
    if isinstance(exc, NotPermittedError):
        return _error(403, "Refused", str(exc))
    status = _status_of(exc)
    if status == 500:  # its text is for the log of the server, not for the client
        return _error(500, "InternalError", "cannot answer: this is an error of the server; its log has the reason.")
    return _error(status, type(exc).__name__, str(exc))


def _error(status: int, kind: str, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    line = visible_line(" ".join(message.split()))
    if len(line) > _MAX_CHARACTERS:
        line = f"{line[:_MAX_CHARACTERS]}..."
    return JSONResponse({"error": {"type": kind, "message": line}}, status, headers)


def _status_of(exc: Exception) -> int:
    match exc:
        case UnknownRun() | UnknownApproval() | UnknownToolCall():
            return 404
        case RunBusy() | RunExists() | IllegalMove() | LeaseLost():
            return 409
        case ModelError():
            return 502
        case StoreError():
            return 503
        case UsageError() | AgentError() | RunnerError():
            return 400
    return 500
