"""Routes that tell what sandboxes use."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse

from berm.api.auth import Call, Caller
from berm.api.requests import usage as requests
from berm.api.wire import usage as wire
from berm.control.usage import Measurement, measurements
from berm.models import Sandbox, State

router = APIRouter()


@router.get("/sandboxes/metrics")
async def of_several(query: Annotated[requests.Sandboxes, Query()], call: Caller) -> Response:
    found = await call.control.sandboxes.get_all(call.who, query.sandbox_ids)
    running = {s.sandbox_id: _measured(call, s) for s in found if s.state is State.RUNNING}
    last = {sandbox_id: wire.sandbox_metric(all_[-1]) for sandbox_id, all_ in running.items() if all_}
    return JSONResponse({"sandboxes": last})


@router.get("/sandboxes/{sandbox_id}/metrics")
async def of_one(sandbox_id: str, query: Annotated[requests.Interval, Query()], call: Caller) -> Response:
    query.check()
    sandbox = await call.control.sandboxes.get(call.who, sandbox_id)
    return JSONResponse([wire.sandbox_metric(m) for m in _measured(call, sandbox) if query.has(m.at)])


def _measured(call: Call, sandbox: Sandbox) -> list[Measurement]:
    return measurements(call.control.usage.samples(sandbox.sandbox_id), sandbox.resources)
