"""Calls of the E2B API that are known and not offered: they answer 501, not 404."""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request

from berm.errors import BermError, Code

NOT_YET = "is not offered yet"
OLD = "is not offered: it needs a Docker engine at the client, as `e2b template build` once did"

_SAY = {OLD: "use POST /v3/templates, as `e2b template create` and `berm template build` do"}
"""What to do instead."""

CALLS = (
    ("POST", "/templates", OLD),
    ("POST", "/templates/{id}", OLD),
    ("POST", "/templates/{id}/builds/{build}", OLD),
)
"""Method and path of each, and what is said of it; a call that becomes offered is taken off this list."""

router = APIRouter()


def _refuse(what: str) -> Callable[[Request], Awaitable[None]]:
    async def refuse(request: Request) -> None:
        raise BermError(Code.NOT_OFFERED, f"{request.method} {request.url.path} {what}", _SAY.get(what, ""))

    return refuse


for method, path, what in CALLS:
    router.add_api_route(path, _refuse(what), methods=[method])
