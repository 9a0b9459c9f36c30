"""Our own routes to what was built: builds and their differences, figures, and images."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse, StreamingResponse

from berm.api import paging
from berm.api.auth import Caller
from berm.api.templates import Reference
from berm.api.wire import history as wire

router = APIRouter(prefix="/berm")

Which = Annotated[str, Query(max_length=128)]
"""A build: its number, id or a tag."""


@router.get("/templates/{reference}/builds")
async def list_all(reference: Reference, page: paging.Page, call: Caller) -> Response:
    found = await call.control.history.listing(call.who.team_id, reference, page)
    entries = [wire.entry(item.build, item.tags) for item in found.items]
    return JSONResponse(entries, headers=paging.next_page(found.next))


@router.get("/templates/{reference}/builds/{which}")
async def get(reference: Reference, which: Reference, call: Caller) -> Response:
    found = await call.control.history.get(call.who.team_id, reference, which)
    return JSONResponse(wire.detail(found.build, found.tags))


@router.get("/templates/{reference}/diff")
async def diff(
    reference: Reference,
    older: Annotated[Which, Query(alias="from")],
    newer: Annotated[Which, Query(alias="to")],
    call: Caller,
) -> Response:
    old, new = [
        await call.control.history.get(call.who.team_id, reference, which) for which in (older, newer)
    ]
    return JSONResponse(
        wire.difference(old.build, new.build, await call.control.products.diff(old.build, new.build))
    )


@router.get("/templates/{reference}/stats")
async def stats(reference: Reference, call: Caller) -> Response:
    return JSONResponse(wire.stats(await call.control.history.stats(call.who.team_id, reference)))


@router.get("/stats")
async def all_stats(call: Caller) -> Response:
    return JSONResponse(wire.stats(await call.control.history.stats(call.who.team_id)))


@router.get("/templates/{reference}/export")
async def export(reference: Reference, call: Caller, tag: Which = "latest") -> Response:
    found = await call.control.history.get(call.who.team_id, reference, tag)
    archive = call.control.products.export(found.build)
    return StreamingResponse(await _begun(archive), media_type="application/x-tar")


async def _begun(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same chunks once the first is there: what fails before it can still be answered as an error."""
    first = await anext(chunks, b"")

    async def again() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return again()
