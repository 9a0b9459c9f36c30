"""Routes under /templates."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from pydantic import AfterValidator

from berm.api import paging, wire
from berm.api.auth import Caller
from berm.api.limits import unescape
from berm.api.requests import BuildLogQuery
from berm.store.paging import Slice

router = APIRouter()

Reference = Annotated[str, AfterValidator(unescape)]
"""A template's id or name in a path, where the `/` of a namespace is percent-encoded."""


@router.get("/templates")
async def list_v1(call: Caller) -> Response:
    page = await call.control.templates.list(call.who.team_id, Slice())
    return JSONResponse([wire.template(t) for t in page.items])


@router.get("/v2/templates")
async def list_v2(page: paging.Page, call: Caller) -> Response:
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


@router.get("/templates/{reference}/builds/{build_id}/status")
async def build_status(
    reference: Reference, build_id: str, query: Annotated[BuildLogQuery, Query()], call: Caller
) -> Response:
    templates = call.control.templates
    build = await templates.build(call.who.team_id, reference, build_id)
    lines = await templates.lines(build_id, query.logs_offset, query.limit, query.level)
    return JSONResponse(wire.build_info(build, lines))
