"""Routes under /snapshots, and those of sandboxes that make snapshots and forks."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse

from berm.api import paging
from berm.api.auth import Caller
from berm.api.requests import snapshots as requests
from berm.api.wire import snapshots as wire

router = APIRouter()


@router.post("/sandboxes/{sandbox_id}/snapshots")
async def create(sandbox_id: str, call: Caller, body: requests.CreateSnapshot | None = None) -> Response:
    name = body.name if body else None
    made = await call.control.snapshots.create(call.who, sandbox_id, name or None)
    return JSONResponse(wire.snapshot(made), 201)


@router.get("/snapshots")
async def list_all(
    query: Annotated[requests.ListSnapshots, Query()], page: paging.Page, call: Caller
) -> Response:
    found = await call.control.snapshots.list(call.who, query.wanted(), page)
    return JSONResponse([wire.snapshot(s) for s in found.items], headers=paging.next_page(found.next))


@router.post("/sandboxes/{sandbox_id}/fork")
async def fork(sandbox_id: str, call: Caller, body: requests.Fork | None = None) -> Response:
    wanted = body or requests.Fork()
    results = await call.control.snapshots.fork(call.who, sandbox_id, wanted.timeout, wanted.count)
    return JSONResponse([wire.fork(result, call.domain) for result in results], 201)
