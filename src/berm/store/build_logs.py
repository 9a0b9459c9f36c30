"""Queries on the logs of template builds."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, func, insert, select

from berm.store.builds import BuildLine
from berm.store.schema import build_logs as table
from berm.store.schema import builds


def append(connection: Connection, build_id: str, lines: Sequence[BuildLine]) -> None:
    """Add lines to a build's log; nothing if there is no such build any more."""
    there = select(builds.c.build_id).where(builds.c.build_id == build_id)
    if connection.execute(there).first() is None:
        return
    last = select(func.max(table.c.line)).where(table.c.build_id == build_id)
    written = connection.execute(last).scalar_one()
    first = 0 if written is None else written + 1
    rows = [_values(build_id, number, line) for number, line in enumerate(lines, first)]
    if rows:
        connection.execute(insert(table), rows)


def lines(
    connection: Connection, build_id: str, levels: Collection[str], offset: int, limit: int
) -> list[BuildLine]:
    """A build's log lines of the given levels, oldest first."""
    where = and_(table.c.build_id == build_id, table.c.level.in_(levels))
    wanted = select(table).where(where).order_by(table.c.line).offset(offset).limit(limit)
    return [_line(row) for row in connection.execute(wanted)]


def lines_at(
    connection: Connection,
    build_id: str,
    levels: Collection[str],
    moment: datetime | None,
    limit: int,
    *,
    backward: bool,
) -> list[BuildLine]:
    """The lines of the given levels from a moment on, or from there back; None is the end it begins at."""
    where = and_(table.c.build_id == build_id, table.c.level.in_(levels))
    if moment is not None:
        where &= table.c.timestamp <= moment if backward else table.c.timestamp >= moment
    order = table.c.line.desc() if backward else table.c.line
    return [_line(row) for row in connection.execute(select(table).where(where).order_by(order).limit(limit))]


def _values(build_id: str, number: int, line: BuildLine) -> dict[str, object]:
    return {
        "build_id": build_id,
        "line": number,
        "timestamp": line.timestamp,
        "level": line.level,
        "message": line.message,
        "step": line.step,
    }


def _line(row: Row[Any]) -> BuildLine:
    return BuildLine(row.timestamp, row.message, row.level, row.step)
