"""Our own routes to builds: what images are, what a plan would do, and building one."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse

from berm.api.auth import Caller
from berm.api.bodies import parsed
from berm.api.requests import builds as requests
from berm.api.templates import Reference
from berm.api.wire import plans as wire
from berm.images.registry import Login

router = APIRouter()


@router.post("/berm/images")
async def images(
    body: Annotated[requests.ResolveImages, Depends(parsed(requests.ResolveImages))], call: Caller
) -> Response:
    login = Login(body.auth.username, body.auth.password) if body.auth else None
    found = await call.control.builds.images(call.who, body.references, login)
    return JSONResponse({"images": [wire.image(*pair) for pair in zip(body.references, found, strict=True)]})


@router.post("/berm/plan")
async def preview(
    body: Annotated[requests.PreviewPlan, Depends(parsed(requests.PreviewPlan))], call: Caller
) -> Response:
    tags = await call.control.templates.check_tags(call.who.team_id, body.name, body.tags)
    found = await call.control.builds.preview(call.who, body.name, body.checked())
    return JSONResponse({**wire.preview(found), "tags": list(tags), "problems": []})


@router.post("/berm/templates/{reference}/builds/{build_id}")
async def start(
    reference: Reference,
    build_id: str,
    body: Annotated[requests.StartPlan, Depends(parsed(requests.StartPlan))],
    call: Caller,
) -> Response:
    build = await call.control.templates.own_build(call.who.team_id, reference, build_id)
    await call.control.builds.submit(
        call.who, build, body.checked(), body.secrets, trial=body.trial, seconds=body.timeout
    )
    return Response(status_code=202)


@router.delete("/berm/templates/{reference}/builds/{build_id}")
async def cancel(reference: Reference, build_id: str, call: Caller) -> Response:
    await call.control.builds.cancel(call.who, reference, build_id)
    return Response(status_code=204)
