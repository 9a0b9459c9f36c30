"""Lists by time of creation, one page after another."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Select, tuple_

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last row of the page before; ids break the tie between rows of one moment."""

    at: datetime
    id: str


@dataclass(frozen=True, slots=True)
class Slice:
    """Which page of a list; a limit of None means all that is left."""

    limit: int | None = None
    after: Cursor | None = None
    newest_first: bool = True


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    items: tuple[T, ...]
    next: Cursor | None


def rows(
    connection: Connection,
    statement: Select[Any],
    at: ColumnElement[datetime],
    key: ColumnElement[str],
    wanted: Slice,
) -> Page[Row[Any]]:
    """The rows of `statement` that make up the page, ordered by its columns `at` and `key`."""
    if wanted.after is not None:
        position = tuple_(at, key)
        last = tuple_(wanted.after.at, wanted.after.id, types=(at.type, key.type))
        statement = statement.where(position < last if wanted.newest_first else position > last)
    statement = statement.order_by(*(c.desc() if wanted.newest_first else c.asc() for c in (at, key)))
    if wanted.limit is None:
        return Page(tuple(connection.execute(statement)), None)
    # One more than asked for tells whether there is another page.
    found = tuple(connection.execute(statement.limit(wanted.limit + 1)))
    page = found[: wanted.limit]
    if len(page) == len(found):
        return Page(page, None)
    last_row = page[-1]._mapping
    return Page(page, Cursor(last_row[at], last_row[key]))
