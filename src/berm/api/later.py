"""Calls of the E2B API that are known and not offered yet: they answer 501, not 404."""

from fastapi import APIRouter, Request

from berm.errors import BermError, Code

CALLS = (
    ("GET", "/teams/{id}/metrics"),
    ("GET", "/teams/{id}/metrics/max"),
    ("GET", "/sandboxes/metrics"),
    ("GET", "/sandboxes/{id}/metrics"),
    ("POST", "/sandboxes/{id}/pause"),
    ("POST", "/sandboxes/{id}/resume"),
    ("POST", "/sandboxes/{id}/fork"),
    ("PUT", "/sandboxes/{id}/network"),
    ("POST", "/sandboxes/{id}/snapshots"),
    ("GET", "/snapshots"),
    ("POST", "/templates"),
    ("POST", "/v2/templates"),
    ("POST", "/v3/templates"),
    ("POST", "/templates/{id}"),
    ("PATCH", "/templates/{id}"),
    ("PATCH", "/v2/templates/{id}"),
    ("DELETE", "/templates/{id}"),
    ("GET", "/templates/{id}/files/{hash}"),
    ("POST", "/templates/{id}/builds/{build}"),
    ("POST", "/v2/templates/{id}/builds/{build}"),
    ("GET", "/templates/{id}/builds/{build}/logs"),
    ("GET", "/templates/{id}/tags"),
    ("POST", "/templates/tags"),
    ("DELETE", "/templates/tags"),
    ("GET", "/nodes"),
    ("GET", "/nodes/{id}"),
    ("POST", "/nodes/{id}"),
    ("POST", "/admin/teams/{id}/sandboxes/kill"),
    ("GET", "/admin/sandboxes/running-counts"),
    ("POST", "/admin/teams/{id}/builds/cancel"),
    ("POST", "/admin/teams/{id}/api-keys"),
    ("DELETE", "/admin/teams/{id}/api-keys/{key}"),
    ("POST", "/access-tokens"),
    ("DELETE", "/access-tokens/{id}"),
    ("GET", "/volumes"),
    ("POST", "/volumes"),
    ("GET", "/volumes/{id}"),
    ("DELETE", "/volumes/{id}"),
    ("GET", "/secrets"),
    ("POST", "/secrets"),
    ("GET", "/secrets/{id}"),
    ("POST", "/secrets/{id}"),
    ("DELETE", "/secrets/{id}"),
)
"""Method and path of each; a call that becomes offered is taken off this list."""

router = APIRouter()


async def not_offered(request: Request) -> None:
    raise BermError(Code.NOT_OFFERED, f"{request.method} {request.url.path} is not offered yet")


for method, path in CALLS:
    router.add_api_route(path, not_offered, methods=[method])
