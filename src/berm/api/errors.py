"""The one place where a failure becomes an HTTP answer: {"code": status, "message": text}."""

import logging
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from berm.control.creation import KeyReusedError
from berm.errors import BermError, Code

STATUS = {
    Code.INVALID_ARGUMENT: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.CONFLICT: 409,
    Code.TOO_LARGE: 413,
    Code.RATE_LIMITED: 429,
    Code.INTERNAL: 500,
    Code.NOT_OFFERED: 501,
    Code.UNAVAILABLE: 503,
    Code.TIMED_OUT: 504,
    Code.NO_SPACE: 507,
}

RETRY_AFTER = {429: 1, 503: 2}
"""Seconds after which a client may try again, where nobody knows better."""

_AGAIN = {**dict.fromkeys(RETRY_AFTER, "true"), 504: "false"}
"""Should-Retry: whether E2B's SDKs ask again by themselves. What took too long once is not begun anew."""

_LONGEST_ECHO = 100
_SECRET = frozenset(("auth", "fromImageRegistry", "secrets", "value", "egressProxy", "rules", "envVars"))
"""Fields whose content is not echoed, as errors end up in logs of clients."""

log = logging.getLogger(__name__)


def answer(
    status: int, message: str, headers: Mapping[str, str] | None = None, retry_after: int | None = None
) -> JSONResponse:
    """The body of every error. The SDKs fail on one without `code` and `message`."""
    retry = {"Should-Retry": _AGAIN[status]} if status in _AGAIN else {}
    if seconds := retry_after or RETRY_AFTER.get(status):
        retry["Retry-After"] = str(seconds)
    return JSONResponse({"code": status, "message": message}, status, {**(headers or {}), **retry})


async def _berm_error(_request: Request, error: BermError) -> Response:
    if error.code is Code.INTERNAL:
        log.error("%s", error, exc_info=error)
    return answer(STATUS[error.code], str(error), retry_after=error.retry_after)


async def _key_reused(_request: Request, error: KeyReusedError) -> Response:
    return answer(422, str(error))


async def _http_error(request: Request, error: HTTPException) -> Response:
    unknown = f"{request.method} {request.url.path} is not a call of this API"
    text = {404: unknown, 405: unknown}.get(error.status_code, str(error.detail))
    return answer(error.status_code, text, error.headers)


async def _invalid(_request: Request, error: RequestValidationError) -> Response:
    return answer(400, explain(error.errors()))


HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    BermError: _berm_error,
    KeyReusedError: _key_reused,
    HTTPException: _http_error,
    RequestValidationError: _invalid,
}


def explain(errors: Sequence[Any]) -> str:
    """What is wrong with a request, from pydantic's list: the first field, its value, what it should be."""
    first = errors[0]
    if first["type"] == "json_invalid":
        return f"the body is not JSON: {first['ctx']['error']} at character {first['loc'][-1]}"
    where = ".".join(str(part) for part in first["loc"][1:])
    if not where:
        return f"the body is not a JSON object ({first['msg']}; send it with Content-Type: application/json)"
    if first["type"] == "missing":
        return f"{where} is missing"
    if first["type"] == "extra_forbidden":
        return f"{where} is not a field of this call"
    secret = not _SECRET.isdisjoint(first["loc"])
    return f"{where} is {'wrong' if secret else _echo(first['input'])}: {first['msg']}"


def _echo(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_ECHO else text[:_LONGEST_ECHO] + "..."


class Unexpected:
    """Answers 500 for what nobody foresaw; the trace is in the log under the id that the client is given."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            request_id = secrets.token_hex(6)
            log.exception("request %s %s %s failed", request_id, scope["method"], scope["path"])
            if started:
                raise
            response = answer(
                500, f"unexpected {type(error).__name__} (look for {request_id} in the server's log)"
            )
            await response(scope, receive, send)
