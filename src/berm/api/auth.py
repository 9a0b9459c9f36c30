"""Who is calling: the API key in a request, and what a handler needs of the server."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from starlette.datastructures import Headers

from berm.control.control import Control
from berm.errors import BermError, Code
from berm.models import Principal


@dataclass(frozen=True, slots=True)
class Call:
    """An authenticated request: the services and who may use them."""

    control: Control
    who: Principal
    secret: str
    """The key that was presented."""
    domain: str
    """Of sandbox host names."""


async def _call(request: Request) -> Call:
    control: Control = request.app.state.control
    secret = _presented(request.headers)
    return Call(control, await control.keys.authenticate(secret), secret, request.app.state.domain)


Caller = Annotated[Call, Depends(_call)]
"""Makes a route answer 401 without a valid key."""


def _presented(headers: Headers) -> str:
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    secret = headers.get("x-api-key") or (bearer.strip() if scheme.lower() == "bearer" else "")
    if not secret:
        raise BermError(
            Code.UNAUTHENTICATED,
            "the request carries no API key",
            "send it as X-API-Key; `berm env` prints one",
        )
    return secret
