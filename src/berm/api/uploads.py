"""Files for builds: where to send them, and their reception."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from berm.api.auth import TokenCaller
from berm.api.limits import UPLOADS
from berm.api.links import Link, Links
from berm.api.templates import Reference
from berm.control.control import Control
from berm.errors import BermError, Code
from berm.templates.checks import is_files_hash

_MEBIBYTE = 1024 * 1024

router = APIRouter()


@router.get("/templates/{reference}/files/{files_hash}")
async def link(reference: Reference, files_hash: str, request: Request, call: TokenCaller) -> Response:
    _check_hash(files_hash)
    await call.control.templates.get_own(call.who.team_id, reference)
    links: Links = request.app.state.links
    path = links.make(call.who.team_id, files_hash)
    url = f"{request.url.scheme}://{request.url.netloc}{path}"
    present = call.control.builds.has_files(call.who.team_id, files_hash)
    return JSONResponse({"present": present, "url": url}, 201)


@router.put(UPLOADS + "{files_hash}")
async def upload(files_hash: str, link: Annotated[Link, Query()], request: Request) -> Response:
    control: Control = request.app.state.control
    links: Links = request.app.state.links
    links.check(link, files_hash)
    size = _size(request, control.config.max_upload_mb)
    try:
        await control.builds.receive(link.team, files_hash, _counted(request, size))
    except ClientDisconnect:
        return Response(status_code=400)  # nobody reads it
    return Response(status_code=200)


def _check_hash(files_hash: str) -> None:
    if not is_files_hash(files_hash):
        raise BermError(
            Code.INVALID_ARGUMENT,
            f"hash is {files_hash[:100]!r}, which is not a SHA-256 in hex",
            "give 64 of 0-9 and a-f",
        )


def _size(request: Request, most_mb: int) -> int:
    text = request.headers.get("content-length", "")
    if not text.isdecimal():
        raise HTTPException(411, "the upload has no Content-Length (send the size of the files, not chunks)")
    if int(text) > most_mb * _MEBIBYTE:
        raise BermError(
            Code.TOO_LARGE,
            f"the upload has {text} bytes, and at most {most_mb} MiB are taken",
            "leave files out by .dockerignore, or let the operator set BERM_MAX_UPLOAD_MB",
        )
    return int(text)


async def _counted(request: Request, size: int) -> AsyncIterator[bytes]:
    """The body as it comes."""
    left = size
    async for chunk in request.stream():
        left -= len(chunk)
        yield chunk
    if left:
        raise ClientDisconnect
