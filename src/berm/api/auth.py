"""Who is calling: the key or token in a request, and what a handler needs of the server."""

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request
from starlette.datastructures import Headers

from berm.control.control import Control
from berm.errors import BermError, Code
from berm.models import Credential, Principal

_HINT = "send an API key as X-API-Key; `berm env` prints one"


@dataclass(frozen=True, slots=True)
class Call:
    """An authenticated request: the services and who may use them."""

    control: Control
    who: Principal
    secret: str = field(repr=False)
    """The key that was presented; empty if another thing was."""
    domain: str
    """Of sandbox host names."""


async def _any_call(request: Request) -> Call:
    control: Control = request.app.state.control
    domain: str = request.app.state.domain
    headers = request.headers
    if "x-admin-token" in headers:
        return Call(control, await _admin_for_team(control, headers), "", domain)
    key, bearer = headers.get("x-api-key", ""), _bearer(headers)
    if not (key or bearer):
        raise BermError(Code.UNAUTHENTICATED, "the request carries no API key", _HINT)
    who = await (_holder(control, key) if key else _bearer_of(control, bearer))
    return Call(control, who, (key or bearer) if who.by is Credential.API_KEY else "", domain)


async def _call(request: Request) -> Call:
    call = await _any_call(request)
    if call.who.by is Credential.ACCESS_TOKEN:
        raise BermError(Code.UNAUTHENTICATED, "this call takes an API key, and no access token", _HINT)
    return call


async def _admin(request: Request) -> Control:
    control: Control = request.app.state.control
    control.admin.check(_admin_token(request.headers))
    return control


Caller = Annotated[Call, Depends(_call)]
"""Makes a route answer 401 without a valid API key, or the admin token and a team."""

TokenCaller = Annotated[Call, Depends(_any_call)]
"""The same for a route that takes an access token, too."""

AdminControl = Annotated[Control, Depends(_admin)]
"""Makes a route answer 401 without the admin token."""


async def _admin_for_team(control: Control, headers: Headers) -> Principal:
    token, team_id = _admin_token(headers), headers.get("x-team-id", "")
    if not team_id:
        control.admin.check(token)
        raise BermError(Code.INVALID_ARGUMENT, "X-Team-ID is missing", "say which team the admin acts for")
    return await control.admin.act_for(token, team_id)


def _admin_token(headers: Headers) -> str:
    token = headers.get("x-admin-token", "")
    if not token:
        raise BermError(Code.UNAUTHENTICATED, "the request carries no admin token", "send X-Admin-Token")
    return token


async def _holder(control: Control, key: str) -> Principal:
    who = await control.keys.authenticate(key)
    if who.by is not Credential.API_KEY:
        raise BermError(
            Code.UNAUTHENTICATED,
            "X-API-Key holds an access token, which is no API key",
            "send it as Authorization: Bearer",
        )
    return who


async def _bearer_of(control: Control, bearer: str) -> Principal:
    try:
        return await control.keys.authenticate(bearer)
    except BermError as error:
        if error.code is not Code.UNAUTHENTICATED or "e2b_" in bearer[:7]:
            raise
    # What a browser gets from the hosted service's login.
    raise BermError(
        Code.UNAUTHENTICATED,
        "the bearer token is no API key and no access token of this server, which has no login in a browser",
        _HINT,
    )


def _bearer(headers: Headers) -> str:
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    return bearer.strip() if scheme.lower() == "bearer" else ""
