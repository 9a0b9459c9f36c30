"""Routes under /sandboxes and /v2/sandboxes."""

import json
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import JSONResponse

from berm import ids
from berm.api import paging
from berm.api.auth import Call, Caller
from berm.api.requests import sandboxes as requests
from berm.api.wire import sandboxes as wire
from berm.models import Sandbox, State
from berm.store.paging import Slice
from berm.store.sandboxes import Filter, Once

router = APIRouter()

IdempotencyKey = Annotated[str | None, Header(pattern=r"^[a-z0-9-]{1,255}$")]


@router.post("/sandboxes")
async def create_v1(body: requests.CreateSandboxV1, call: Caller) -> Response:
    return await _create(call, body)


@router.post("/v2/sandboxes")
async def create(
    body: requests.CreateSandbox, call: Caller, idempotency_key: IdempotencyKey = None
) -> Response:
    once = Once(idempotency_key, ids.digest(json.dumps(body.model_dump()))) if idempotency_key else None
    return await _create(call, body, once)


async def _create(call: Call, body: requests.CreateSandbox, once: Once | None = None) -> Response:
    wanted = requests.new_sandbox(body)
    return _sandbox(call, await call.control.sandboxes.create(call.who, wanted, once), 201)


@router.get("/sandboxes")
async def list_v1(query: Annotated[requests.ListSandboxesV1, Query()], call: Caller) -> Response:
    wanted = Filter([State.RUNNING], metadata=query.metadata)
    listing = await call.control.sandboxes.list(call.who, wanted, Slice())
    return JSONResponse([wire.listed(s) for s in listing.page.items])


@router.get("/v2/sandboxes")
async def list_v2(
    query: Annotated[requests.ListSandboxes, Query()], page: paging.Page, call: Caller
) -> Response:
    wanted = replace(page, newest_first=query.order == "desc")
    listing = await call.control.sandboxes.list(call.who, query.filter(), wanted)
    headers = paging.next_page(listing.page.next)
    if State.RUNNING in query.state:
        headers["X-Total-Running"] = str(listing.running)
    return JSONResponse([wire.listed(s) for s in listing.page.items], headers=headers)


@router.get("/sandboxes/{sandbox_id}")
async def get(sandbox_id: str, call: Caller) -> Response:
    sandbox = await call.control.sandboxes.get(call.who, sandbox_id)
    return JSONResponse(wire.detail(sandbox, call.domain))


@router.delete("/sandboxes/{sandbox_id}")
async def kill(sandbox_id: str, call: Caller) -> Response:
    await call.control.sandboxes.kill(call.who, sandbox_id)
    return Response(status_code=204)


@router.post("/sandboxes/{sandbox_id}/timeout")
async def set_timeout(sandbox_id: str, body: requests.Timeout, call: Caller) -> Response:
    await call.control.sandboxes.set_timeout(call.who, sandbox_id, body.timeout)
    return Response(status_code=204)


@router.put("/sandboxes/{sandbox_id}/network")
async def set_network(sandbox_id: str, body: requests.NetworkUpdate, call: Caller) -> Response:
    allow_internet = body.allow_internet_access
    await call.control.networks.update(call.who, sandbox_id, body.model(), allow_internet)
    return Response(status_code=204)


@router.post("/sandboxes/{sandbox_id}/refreshes")
async def refresh(sandbox_id: str, call: Caller, body: requests.Refresh | None = None) -> Response:
    # Not `connect`, which resumes a paused one.
    await call.control.sandboxes.refresh(call.who, sandbox_id, body.duration if body else None)
    return Response(status_code=204)


@router.post("/sandboxes/{sandbox_id}/connect")
async def connect_v1(sandbox_id: str, body: requests.Timeout, call: Caller) -> Response:
    return await _connect(sandbox_id, requests.Connect(timeout=body.timeout), call)


@router.post("/v2/sandboxes/{sandbox_id}/connect")
async def connect(sandbox_id: str, call: Caller, body: requests.Connect | None = None) -> Response:
    return await _connect(sandbox_id, body or requests.Connect(), call)


async def _connect(sandbox_id: str, body: requests.Connect, call: Call) -> Response:
    sandbox, resumed = await call.control.sandboxes.connect(
        call.who, sandbox_id, body.timeout, memory=body.memory is not False
    )
    return _sandbox(call, sandbox, 201 if resumed else 200)


@router.post("/sandboxes/{sandbox_id}/pause")
async def pause(sandbox_id: str, call: Caller, body: requests.Pause | None = None) -> Response:
    wanted = body or requests.Pause()
    await call.control.sandboxes.pause(
        call.who,
        sandbox_id,
        memory=wanted.memory is not False,
        only_well=bool(wanted.require_healthy_guest),
    )
    return Response(status_code=204)


@router.post("/sandboxes/{sandbox_id}/resume")
async def resume(sandbox_id: str, body: requests.Resume, call: Caller) -> Response:
    return _sandbox(call, await call.control.sandboxes.resume(call.who, sandbox_id, body.timeout), 201)


@router.get("/sandboxes/{sandbox_id}/logs")
async def logs_v1(sandbox_id: str, query: Annotated[requests.LogQueryV1, Query()], call: Caller) -> Response:
    lines = await call.control.sandboxes.logs(call.who, sandbox_id)
    entries = [wire.log_entry(line) for line in query.select(lines)]
    return JSONResponse({"logs": wire.log_lines(entries), "logEntries": entries})


@router.get("/v2/sandboxes/{sandbox_id}/logs")
async def logs(sandbox_id: str, query: Annotated[requests.LogQuery, Query()], call: Caller) -> Response:
    lines = await call.control.sandboxes.logs(call.who, sandbox_id)
    return JSONResponse({"logs": [wire.log_entry(line) for line in query.select(lines)]})


def _sandbox(call: Call, sandbox: Sandbox, status: int) -> Response:
    return JSONResponse(wire.sandbox(sandbox, call.domain), status)
