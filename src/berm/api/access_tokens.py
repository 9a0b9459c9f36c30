"""Routes under /access-tokens."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from berm.api.auth import Caller
from berm.api.requests.keys import KeyName
from berm.api.wire import keys as wire
from berm.models import Credential

router = APIRouter(prefix="/access-tokens")


@router.post("")
async def create(body: KeyName, call: Caller) -> Response:
    made = await call.control.keys.create(call.who.team_id, body.name, Credential.ACCESS_TOKEN)
    return JSONResponse(wire.access_token(made.key, made.secret), 201)


@router.delete("/{token_id}")
async def revoke(token_id: str, call: Caller) -> Response:
    await call.control.keys.revoke(call.who.team_id, token_id, Credential.ACCESS_TOKEN)
    return Response(status_code=204)
