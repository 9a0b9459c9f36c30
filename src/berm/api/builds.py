"""E2B's routes about template builds: begin one, follow it, read its log."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import JSONResponse

from berm.api.auth import Call, Caller, TokenCaller
from berm.api.bodies import parsed
from berm.api.requests import builds as requests
from berm.api.requests.templates import NewTemplate
from berm.api.templates import Reference
from berm.api.wire import builds as wire
from berm.api.wire import templates as template_wire
from berm.api.wire.common import Json
from berm.store.builds import UNFINISHED, Build

router = APIRouter()


@router.post("/v2/templates")
async def request_v2(body: NewTemplate, call: Caller) -> Response:
    build = await _begin(body, call)
    summary = await call.control.templates.get(call.who.team_id, build.template_id)
    return JSONResponse({**template_wire.template(summary), "buildID": build.build_id}, 202)


@router.post("/v3/templates")
async def request(body: NewTemplate, call: Caller) -> Response:
    build = await _begin(body, call)
    summary = await call.control.templates.get(call.who.team_id, build.template_id)
    return JSONResponse(template_wire.requested(summary, build), 202)


async def _begin(body: NewTemplate, call: Call) -> Build:
    return await call.control.templates.begin(
        call.who.team_id,
        body.reference(),
        body.tags,
        body.resources(),
        commit=body.commit,
        actor=body.actor,
    )


@router.post("/v2/templates/{reference}/builds/{build_id}")
async def start(
    reference: Reference,
    build_id: str,
    body: Annotated[requests.StartBuild, Depends(parsed(requests.StartBuild))],
    call: Caller,
) -> Response:
    build = await call.control.templates.own_build(call.who.team_id, reference, build_id)
    await call.control.builds.submit_steps(call.who, build, requests.steps_request(body))
    return Response(status_code=202)


@router.get("/templates/{reference}/builds/{build_id}/status")
async def status(
    reference: Reference, build_id: str, query: Annotated[requests.BuildLogQuery, Query()], call: TokenCaller
) -> Response:
    try:
        async with asyncio.timeout(query.wait or None):
            while True:
                news = call.control.builds.changed(build_id)
                try:
                    found = await _status(reference, build_id, query, call)
                    if found["logEntries"] or found["status"] not in UNFINISHED or not query.wait:
                        return JSONResponse(found)
                    await news
                finally:
                    news.cancel()
    except TimeoutError:
        return JSONResponse(await _status(reference, build_id, query, call))


async def _status(reference: str, build_id: str, query: requests.BuildLogQuery, call: Call) -> Json:
    templates = call.control.templates
    build = await templates.build(call.who.team_id, reference, build_id)
    lines = await templates.lines(build_id, query.logs_offset, query.limit, query.level)
    return wire.build_info(build, lines)


@router.get("/templates/{reference}/builds/{build_id}/logs")
async def logs(
    reference: Reference, build_id: str, query: Annotated[requests.BuildLogsQuery, Query()], call: TokenCaller
) -> Response:
    build = await call.control.templates.build(call.who.team_id, reference, build_id)
    lines = await call.control.templates.lines_at(
        build.build_id, query.moment(), query.limit, query.level, backward=query.direction == "backward"
    )
    return JSONResponse({"logs": [wire.build_line(line) for line in lines]})
