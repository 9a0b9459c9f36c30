"""Routes under /nodes, for who has the admin token."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse

from berm.api.auth import AdminControl
from berm.api.requests import nodes as requests
from berm.api.wire import nodes as wire
from berm.errors import BermError, Code

router = APIRouter()


@router.get("/nodes")
async def list_all(query: Annotated[requests.InCluster, Query()], control: AdminControl) -> Response:
    found = await control.nodes.list() if query.exists else []
    return JSONResponse([wire.node(info, control.sandboxes.starting) for info in found])


@router.get("/nodes/{node_id}")
async def get(node_id: str, query: Annotated[requests.InCluster, Query()], control: AdminControl) -> Response:
    _check(query.exists)
    return JSONResponse(wire.detail(await control.nodes.get(node_id)))


@router.post("/nodes/{node_id}")
async def set_status(node_id: str, body: requests.StatusChange, control: AdminControl) -> Response:
    _check(body.cluster_id in (None, requests.CLUSTER))
    await control.nodes.set_status(node_id, body.wanted())
    return Response(status_code=204)


def _check(cluster_exists: bool) -> None:
    if not cluster_exists:
        raise BermError(Code.NOT_FOUND, "there is no such cluster", f"this one is {requests.CLUSTER}")
