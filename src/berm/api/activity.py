"""Routes that tell what goes on in a team."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse

from berm.api.auth import Caller
from berm.api.requests.activity import Most
from berm.api.requests.usage import Interval
from berm.api.wire import activity as wire

router = APIRouter()


@router.get("/teams/{team_id}/metrics")
async def metrics(team_id: str, query: Annotated[Interval, Query()], call: Caller) -> Response:
    query.check()
    found = await call.control.activity.of(call.who, team_id, query.start, query.end)
    return JSONResponse([wire.team_metric(moment) for moment in found])


@router.get("/teams/{team_id}/metrics/max")
async def most(team_id: str, query: Annotated[Most, Query()], call: Caller) -> Response:
    query.check()
    found = await call.control.activity.most(call.who, team_id, query.metric, query.start, query.end)
    return JSONResponse(wire.max_team_metric(found, query.metric))
