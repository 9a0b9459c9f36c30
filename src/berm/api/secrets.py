"""Routes under /secrets; one is found by its id or its name."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from berm.api import paging
from berm.api.auth import Caller
from berm.api.requests.secrets import NewSecret, SecretUpdate
from berm.api.wire import secrets as wire

router = APIRouter(prefix="/secrets")


@router.get("")
async def list_all(page: paging.Page, call: Caller) -> Response:
    found = await call.control.secrets.list(call.who.team_id, page)
    return JSONResponse([wire.secret(s) for s in found.items], headers=paging.next_page(found.next))


@router.post("")
async def create(body: NewSecret, call: Caller) -> Response:
    made = await call.control.secrets.create(call.who.team_id, body.name, body.content())
    return JSONResponse(wire.secret(made), 201)


@router.get("/{reference}")
async def get(reference: str, call: Caller) -> Response:
    return JSONResponse(wire.secret(await call.control.secrets.get(call.who.team_id, reference)))


@router.post("/{reference}")
async def update(reference: str, body: SecretUpdate, call: Caller) -> Response:
    updated = await call.control.secrets.update(call.who.team_id, reference, body.content())
    return JSONResponse(wire.secret(updated))


@router.delete("/{reference}")
async def delete(reference: str, call: Caller) -> Response:
    await call.control.secrets.delete(call.who.team_id, reference)
    return Response(status_code=204)
