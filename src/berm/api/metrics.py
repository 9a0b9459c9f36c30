"""The route that Prometheus asks."""

from fastapi import APIRouter, Response

from berm.api.auth import Caller
from berm.observability.metrics import CONTENT_TYPE

router = APIRouter()


@router.get("/metrics")
async def metrics(call: Caller) -> Response:
    return Response(await call.control.metering.render(call.who.team_id), media_type=CONTENT_TYPE)
