"""Where E2B's command line sends a browser to log in: here it learns that there is nothing to log in to."""

from typing import Annotated
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, Query, Response
from fastapi.responses import RedirectResponse

from berm.errors import BermError, Code

router = APIRouter()


@router.get("/docs/api/cli")
async def login(waiting: Annotated[str, Query(alias="next")] = "") -> Response:
    """`next` is where the command line waits: on the browser's own machine, nobody is sent elsewhere."""
    port = _local_port(waiting)
    if port is None:
        raise _no_login()
    return RedirectResponse(f"http://localhost:{port}/?{urlencode({'error': str(_no_login())})}", 302)


def _local_port(url: str) -> int | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    return port if (parts.scheme, parts.hostname) == ("http", "localhost") else None


def _no_login() -> BermError:
    return BermError(
        Code.NOT_OFFERED,
        "this server has no login in a browser",
        "set E2B_API_KEY to one of its keys; `berm env` prints one",
    )
