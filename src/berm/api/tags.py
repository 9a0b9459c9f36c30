"""Routes about the tags of templates."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from berm.api.auth import Caller
from berm.api.requests import templates as requests
from berm.api.templates import Reference
from berm.api.wire import templates as wire

router = APIRouter()


@router.post("/templates/tags")
async def assign(body: requests.AssignTags, call: Caller) -> Response:
    assigned = await call.control.templates.assign_tags(call.who.team_id, body.target, body.tags)
    return JSONResponse(wire.assigned(assigned), 201)


@router.delete("/templates/tags")
async def delete(body: requests.DeleteTags, call: Caller) -> Response:
    await call.control.templates.remove_tags(call.who.team_id, body.name, body.tags)
    return Response(status_code=204)


@router.get("/templates/{reference}/tags")
async def list_all(reference: Reference, call: Caller) -> Response:
    tags = await call.control.templates.tags(call.who.team_id, reference)
    return JSONResponse([wire.tag(tag) for tag in tags])


@router.post("/berm/templates/{reference}/rollback")
async def rollback(reference: Reference, body: requests.Rollback, call: Caller) -> Response:
    done = await call.control.templates.rollback(call.who.team_id, reference, body.tag, body.to)
    return JSONResponse(wire.rolled_back(done))
