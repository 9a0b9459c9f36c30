"""Routes under /volumes."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from berm.api.auth import Caller
from berm.api.requests.volumes import NewVolume
from berm.api.wire import volumes as wire

router = APIRouter()


@router.get("/volumes")
async def list_all(call: Caller) -> Response:
    return JSONResponse([wire.volume(volume) for volume in await call.control.volumes.list(call.who)])


@router.post("/volumes")
async def create(body: NewVolume, call: Caller) -> Response:
    return JSONResponse(wire.with_token(await call.control.volumes.create(call.who, body.name)), 201)


@router.get("/volumes/{volume_id}")
async def get(volume_id: str, call: Caller) -> Response:
    return JSONResponse(wire.with_token(await call.control.volumes.get(call.who, volume_id)))


@router.delete("/volumes/{volume_id}")
async def delete(volume_id: str, call: Caller) -> Response:
    await call.control.volumes.delete(call.who, volume_id)
    return Response(status_code=204)
