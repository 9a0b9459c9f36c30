"""Routes under /templates."""

from typing import Annotated

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import AfterValidator

from berm.api import paging
from berm.api.auth import Call, Caller, TokenCaller
from berm.api.limits import unescape
from berm.api.requests.templates import UpdateTemplate
from berm.api.wire import templates as wire
from berm.store.paging import Slice
from berm.store.templates import Record

router = APIRouter()

Reference = Annotated[str, AfterValidator(unescape)]
"""A template's id or name in a path, where the `/` of a namespace is percent-encoded."""


@router.get("/templates")
async def list_v1(call: TokenCaller) -> Response:
    page = await call.control.templates.list(call.who.team_id, Slice())
    return JSONResponse([wire.template(t) for t in page.items])


@router.get("/v2/templates")
async def list_v2(page: paging.Page, call: TokenCaller) -> Response:
    found = await call.control.templates.list(call.who.team_id, page)
    return JSONResponse([wire.template(t) for t in found.items], headers=paging.next_page(found.next))


@router.get("/templates/{reference}")
async def get(reference: Reference, page: paging.Page, call: Caller) -> Response:
    summary = await call.control.templates.get(call.who.team_id, reference)
    builds = await call.control.templates.builds(call.who.team_id, reference, page)
    headers = paging.next_page(builds.next)
    return JSONResponse(wire.template_with_builds(summary, builds.items), headers=headers)


@router.get("/templates/aliases/{alias}")
async def find_alias(alias: Reference, call: Caller) -> Response:
    record = await call.control.templates.find_alias(call.who.team_id, alias)
    return JSONResponse({"templateID": record.template_id, "public": record.public})


@router.delete("/templates/{reference}")
async def delete(reference: Reference, call: TokenCaller) -> Response:
    if await call.control.snapshots.delete(call.who, reference):
        await call.control.builds.collect()
    else:
        await call.control.builds.delete(call.who, reference)
    return Response(status_code=204)


@router.patch("/templates/{reference}")
async def update_v1(reference: Reference, body: UpdateTemplate, call: TokenCaller) -> Response:
    await _update(reference, body, call)
    return JSONResponse({})


@router.patch("/v2/templates/{reference}")
async def update(reference: Reference, body: UpdateTemplate, call: TokenCaller) -> Response:
    record = await _update(reference, body, call)
    return JSONResponse({"names": [record.name]})


async def _update(reference: str, body: UpdateTemplate, call: Call) -> Record:
    templates = call.control.templates
    if body.public is None:
        return await templates.get_own(call.who.team_id, reference)
    return await templates.update(call.who.team_id, reference, public=body.public)
