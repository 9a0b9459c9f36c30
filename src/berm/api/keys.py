"""Routes under /api-keys and /teams."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from berm.api.auth import Caller, TokenCaller
from berm.api.requests.keys import KeyName
from berm.api.wire import keys as wire

router = APIRouter()


@router.get("/teams")
async def teams(call: TokenCaller) -> Response:
    """The team that the key or token is of. `apiKey` can only be a key that was presented: none is kept."""
    team = await call.control.keys.team(call.who.team_id)
    return JSONResponse(
        [{"teamID": team.team_id, "name": team.name, "apiKey": call.secret, "isDefault": True}]
    )


@router.get("/api-keys")
async def list_all(call: Caller) -> Response:
    return JSONResponse([wire.api_key(k) for k in await call.control.keys.list(call.who.team_id)])


@router.post("/api-keys")
async def create(body: KeyName, call: Caller) -> Response:
    made = await call.control.keys.create(call.who.team_id, body.name)
    return JSONResponse(wire.new_key(made.key, made.secret), 201)


@router.patch("/api-keys/{key_id}")
async def rename(key_id: str, body: KeyName, call: Caller) -> Response:
    return JSONResponse(wire.api_key(await call.control.keys.rename(call.who.team_id, key_id, body.name)))


@router.delete("/api-keys/{key_id}")
async def revoke(key_id: str, call: Caller) -> Response:
    await call.control.keys.revoke(call.who.team_id, key_id)
    return Response(status_code=204)
