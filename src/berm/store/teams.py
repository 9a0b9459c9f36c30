"""Queries on teams."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, or_, select, update

from berm.models import Limits
from berm.store.schema import teams as table


@dataclass(frozen=True, slots=True)
class Team:
    team_id: str
    name: str
    created_at: datetime
    limits: Limits = field(default_factory=Limits)


def add_team(connection: Connection, team: Team) -> None:
    values = {"team_id": team.team_id, "name": team.name, "created_at": team.created_at}
    connection.execute(insert(table), {**values, **_columns(team.limits)})


def first_team(connection: Connection) -> Team | None:
    """The oldest team: the one that the server made for itself."""
    return next(iter(listing(connection)), None)


def find_team(connection: Connection, team_id: str) -> Team | None:
    row = connection.execute(select(table).where(table.c.team_id == team_id)).first()
    return _team(row) if row else None


def named(connection: Connection, reference: str) -> list[Team]:
    """The teams with this id or name."""
    where = or_(table.c.team_id == reference, table.c.name == reference)
    return [_team(row) for row in connection.execute(select(table).where(where))]


def listing(connection: Connection) -> list[Team]:
    """All teams, oldest first."""
    wanted = select(table).order_by(table.c.created_at, table.c.team_id)
    return [_team(row) for row in connection.execute(wanted)]


def set_limits(connection: Connection, team_id: str, limits: Limits) -> None:
    connection.execute(update(table).where(table.c.team_id == team_id).values(_columns(limits)))


def _columns(limits: Limits) -> dict[str, int | None]:
    return {
        "max_sandboxes": limits.max_sandboxes,
        "creation_rate": limits.creation_rate,
        "max_timeout": limits.max_timeout,
    }


def _team(row: Row[Any]) -> Team:
    limits = Limits(row.max_sandboxes, row.creation_rate, row.max_timeout)
    return Team(row.team_id, row.name, row.created_at, limits)
