"""Queries on what goes on in teams: counted from the sandboxes' records, step by step, and kept."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from sqlalchemy import ColumnElement, Connection, and_, case, delete, func, insert, or_, select

from berm.models import State
from berm.store.schema import sandboxes
from berm.store.schema import team_metrics as table

STEP: Final = 15
"""Seconds."""

KEPT: Final = 30 * 24 * 3600
"""Seconds for which a step is kept."""

Metric = Literal["concurrent", "started"]


@dataclass(frozen=True, slots=True)
class Activity:
    """What went on in a team from `at`, in seconds since 1970, for one step or several."""

    at: int
    concurrent: int
    """Most sandboxes that ran when a step ended."""
    started: int


def record(connection: Connection, at: int) -> None:
    """Count the step that begins at `at`, of all teams, and forget those of long ago. Safe to call again."""
    connection.execute(delete(table).where(or_(table.c.at == at, table.c.at < at - KEPT)))
    begin, end = (datetime.fromtimestamp(moment, UTC) for moment in (at, at + STEP))
    runs = and_(sandboxes.c.ended_at.is_(None), sandboxes.c.state == State.RUNNING)
    counts = (func.sum(case((where, 1), else_=0)) for where in (runs, sandboxes.c.started_at >= begin))
    # Of those that have ended it looks at the latest only, by index.
    wanted = and_(
        or_(sandboxes.c.ended_at.is_(None), sandboxes.c.ended_at >= begin), sandboxes.c.started_at < end
    )
    query = select(sandboxes.c.team_id, *counts).where(wanted).group_by(sandboxes.c.team_id)
    rows = connection.execute(query).all()
    values = [
        {"team_id": row[0], "at": at, "concurrent": row[1], "started": row[2]}
        for row in rows
        if row[1] or row[2]
    ]
    if values:
        connection.execute(insert(table), values)


def listing(connection: Connection, team_id: str, moments: range) -> list[Activity]:
    """A team's activity for each of the moments, which are as far apart as they say."""
    width = moments.step
    step = table.c.at // width * width
    query = select(step, func.max(table.c.concurrent), func.sum(table.c.started)).group_by(step)
    rows = connection.execute(query.where(_within(team_id, moments.start, moments.stop)))
    found = {row[0]: Activity(row[0], row[1], row[2]) for row in rows}
    return [found.get(moment, Activity(moment, 0, 0)) for moment in moments]


def most(connection: Connection, team_id: str, metric: Metric, begin: int, end: int) -> Activity | None:
    """The step, the first of several, in which there was most of something; None if nothing went on."""
    query = select(table).where(_within(team_id, begin, end)).order_by(table.c[metric].desc(), table.c.at)
    row = connection.execute(query.limit(1)).first()
    return Activity(row.at, row.concurrent, row.started) if row else None


def _within(team_id: str, begin: int, end: int) -> ColumnElement[bool]:
    return and_(table.c.team_id == team_id, table.c.at >= begin, table.c.at < end)
