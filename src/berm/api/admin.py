"""Routes under /admin: what is open to the holder of the admin token, for every team."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from berm.api.auth import AdminControl
from berm.api.requests.keys import KeyName
from berm.api.wire import keys as wire

router = APIRouter(prefix="/admin")


@router.get("/sandboxes/running-counts")
async def running_counts(control: AdminControl) -> Response:
    return JSONResponse(await control.admin.running_counts())


@router.post("/teams/{team_id}/sandboxes/kill")
async def kill_sandboxes(team_id: str, control: AdminControl) -> Response:
    outcome = await control.admin.kill_sandboxes(team_id)
    return JSONResponse({"killedCount": outcome.done, "failedCount": outcome.failed})


@router.post("/teams/{team_id}/builds/cancel")
async def cancel_builds(team_id: str, control: AdminControl) -> Response:
    outcome = await control.admin.cancel_builds(team_id)
    return JSONResponse({"cancelledCount": outcome.done, "failedCount": outcome.failed})


@router.post("/teams/{team_id}/api-keys")
async def create_key(team_id: str, body: KeyName, control: AdminControl) -> Response:
    team = await control.keys.team(team_id)
    made = await control.keys.create(team.team_id, body.name)
    return JSONResponse(wire.new_key(made.key, made.secret), 201)


@router.delete("/teams/{team_id}/api-keys/{key_id}")
async def revoke_key(team_id: str, key_id: str, control: AdminControl) -> Response:
    team = await control.keys.team(team_id)
    await control.keys.revoke(team.team_id, key_id)
    return Response(status_code=204)
