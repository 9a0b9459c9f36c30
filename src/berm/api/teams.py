"""Our own routes to teams, for the holder of the admin token. A team is meant by its id or its name."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from berm.api.auth import AdminControl
from berm.api.limits import unescape
from berm.api.requests.teams import NewTeam, TeamLimits
from berm.api.wire import teams as wire
from berm.models import Limits

router = APIRouter(prefix="/berm/teams")


@router.get("")
async def list_all(control: AdminControl) -> Response:
    return JSONResponse([wire.team(standing) for standing in await control.teams.list()])


@router.post("")
async def create(body: NewTeam, control: AdminControl) -> Response:
    made, key = await control.teams.create(body.name, body.over(Limits()))
    return JSONResponse({**wire.team(made), "apiKey": key.secret}, 201)


@router.patch("/{reference}")
async def set_limits(reference: str, body: TeamLimits, control: AdminControl) -> Response:
    return JSONResponse(wire.team(await control.teams.change_limits(unescape(reference), body.over)))
