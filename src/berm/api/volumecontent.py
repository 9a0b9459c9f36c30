"""Routes under /volumecontent: what is in a volume, for who shows its token. Errors have their own body."""

import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from berm.api import ranges
from berm.api.errors import RETRY_AFTER, STATUS, explain
from berm.api.limits import CONTENT
from berm.api.requests.volumes import Depth, Making, Metadata, Path
from berm.api.wire import volumes as wire
from berm.api.wire.common import printable
from berm.control.control import Control
from berm.errors import BermError, Code
from berm.models import VolumeEntry
from berm.node.interface import VolumeContent, VolumeFile

_PIECE = 256 * 1024
_TEXT = 128 * 1024
"""Characters of a listing that are written at once."""

log = logging.getLogger(__name__)


class _Route(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                return _refusal(BermError(Code.INVALID_ARGUMENT, explain(error.errors())))
            except BermError as error:
                return _refusal(error)

        return answered


def _refusal(error: BermError) -> Response:
    if error.code is Code.INTERNAL:
        log.error("%s", error, exc_info=error)
    status = STATUS[error.code]
    headers = {"Retry-After": str(RETRY_AFTER[status])} if status in RETRY_AFTER else None
    return JSONResponse({"code": error.code, "message": printable(str(error))}, status, headers)


router = APIRouter(prefix=CONTENT + "{volume_id}", route_class=_Route)


async def _content(volume_id: str, request: Request) -> VolumeContent:
    control: Control = request.app.state.control
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise BermError(
            Code.UNAUTHENTICATED,
            "the request carries no volume token",
            "send it as Authorization: Bearer; GET /volumes/{volumeID} answers it",
        )
    return await control.volumes.open(volume_id, token.strip())


Content = Annotated[VolumeContent, Depends(_content)]


@router.get("/path")
async def look(content: Content, path: Path) -> Response:
    return _entry(await content.look(path))


@router.patch("/path")
async def change(content: Content, path: Path, body: Metadata) -> Response:
    return _entry(await content.change(path, body.attributes()))


@router.delete("/path")
async def remove(content: Content, path: Path) -> Response:
    await content.remove(path)
    return Response(status_code=204)


@router.get("/dir")
async def list_directory(content: Content, path: Path, query: Annotated[Depth, Query()]) -> Response:
    found = await content.list(path, query.depth)
    return StreamingResponse(as_json(found), media_type="application/json")


async def as_json(found: Sequence[VolumeEntry]) -> AsyncIterator[str]:
    """As JSON, in pieces that keep nobody else waiting for long."""
    piece = "["
    for number, entry in enumerate(found):
        piece += f"{',' if number else ''}{json.dumps(wire.entry(entry))}"
        if len(piece) >= _TEXT:
            yield piece
            piece = ""
    yield f"{piece}]"


@router.post("/dir")
async def make_directory(content: Content, path: Path, query: Annotated[Making, Query()]) -> Response:
    made = await content.make_directory(path, query.attributes(), force=bool(query.force))
    return _entry(made, 201)


@router.get("/file")
async def read(content: Content, path: Path, request: Request) -> Response:
    file = await content.open(path)
    try:
        wanted = ranges.of(request.headers.get("range"), file.size)
    except ranges.UnsatisfiableError:
        file.close()
        return Response(status_code=416, headers={"Content-Range": f"bytes */{file.size}"})
    return _Download(file, wanted)


class _Download(StreamingResponse):
    """Sends a file, or a part of it, and closes it whatever happens."""

    def __init__(self, file: VolumeFile, wanted: tuple[int, int] | None) -> None:
        begin, end = wanted or (0, file.size)
        headers = {"Content-Length": str(end - begin), "Accept-Ranges": "bytes"}
        if wanted:
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{file.size}"
        media_type = "application/octet-stream"
        super().__init__(_pieces(file, begin, end), 206 if wanted else 200, headers, media_type)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()


async def _pieces(file: VolumeFile, begin: int, end: int) -> AsyncIterator[bytes]:
    """No more than was announced; if it has become shorter, the connection breaks."""
    while begin < end and (piece := await file.read(begin, min(end - begin, _PIECE))):
        yield piece
        begin += len(piece)


@router.put("/file")
async def write(
    content: Content, path: Path, query: Annotated[Making, Query()], request: Request
) -> Response:
    try:
        made = await content.write(path, request.stream(), query.attributes(), force=query.force)
    except ClientDisconnect:
        return Response(status_code=400)  # nobody reads it
    return _entry(made, 201)


def _entry(found: VolumeEntry, status: int = 200) -> Response:
    return JSONResponse(wire.entry(found), status)
