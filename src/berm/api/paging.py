"""Pages on the wire: `limit` and `nextToken` in the query, `x-next-token` in the answer."""

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Depends, Query

from berm.errors import BermError, Code
from berm.store.paging import Cursor, Slice

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def token(cursor: Cursor | None) -> str | None:
    """A cursor as clients carry it; they need not understand it."""
    if cursor is None:
        return None
    micros = (cursor.at - _EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(f"{micros}.{cursor.id}".encode()).decode()


def cursor(text: str) -> Cursor:
    """Raises BermError INVALID_ARGUMENT for what `token` did not make."""
    try:
        micros, key = base64.b64decode(text, b"-_", validate=True).decode("ascii").split(".", 1)
        return Cursor(_EPOCH + timedelta(microseconds=int(micros)), key.replace("\0", ""))
    except (binascii.Error, ValueError, OverflowError):
        raise BermError(
            Code.INVALID_ARGUMENT,
            f"nextToken is {text[:100]!r}, which is not a page token",
            "send x-next-token of the page before, or leave it out",
        ) from None


def next_page(cursor: Cursor | None) -> dict[str, str]:
    """The headers that lead to the next page; none on the last."""
    following = token(cursor)
    return {"x-next-token": following} if following else {}


async def _page(
    limit: Annotated[int, Query(ge=1, le=100)] = 100,
    next_token: Annotated[str, Query(alias="nextToken")] = "",
) -> Slice:
    return Slice(limit, cursor(next_token) if next_token else None)


Page = Annotated[Slice, Depends(_page)]
"""The page that a request asks for."""
