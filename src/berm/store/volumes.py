"""Queries on volumes. A volume that a live sandbox has mounted stays."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, insert, select
from sqlalchemy.exc import IntegrityError

from berm.models import Volume
from berm.store import sandboxes
from berm.store.schema import volumes as table


def add(connection: Connection, volume: Volume) -> bool:
    """False if the team has one of that name."""
    values = {
        "volume_id": volume.volume_id,
        "team_id": volume.team_id,
        "name": volume.name,
        "token": volume.token,
        "created_at": volume.created_at,
    }
    try:
        with connection.begin_nested():
            connection.execute(insert(table), values)
    except IntegrityError:
        return False
    return True


def listing(connection: Connection, team_id: str) -> list[Volume]:
    """A team's volumes, oldest first."""
    wanted = select(table).where(table.c.team_id == team_id)
    return [
        _volume(row) for row in connection.execute(wanted.order_by(table.c.created_at, table.c.volume_id))
    ]


def find(connection: Connection, team_id: str, volume_id: str) -> Volume | None:
    row = connection.execute(select(table).where(_own(team_id, volume_id))).first()
    return _volume(row) if row else None


def named(connection: Connection, team_id: str, names: set[str]) -> dict[str, Volume]:
    """Those of a team that have one of these names, by name."""
    wanted = select(table).where(table.c.team_id == team_id, table.c.name.in_(names))
    return {row.name: _volume(row) for row in connection.execute(wanted)}


def token(connection: Connection, volume_id: str) -> str | None:
    """What opens a volume's content, whoever's it is; None if there is no such volume."""
    return connection.execute(select(table.c.token).where(table.c.volume_id == volume_id)).scalar()


def ids(connection: Connection) -> set[str]:
    """The volumes of all teams."""
    return set(connection.execute(select(table.c.volume_id)).scalars())


def remove(connection: Connection, volume: Volume, now: datetime) -> list[str] | None:
    """Forget a volume, unless live sandboxes have it mounted: then their ids. None if it was not there."""
    users = sandboxes.mounting(connection, volume.team_id, volume.name, now)
    if users:
        return users
    gone = delete(table).where(_own(volume.team_id, volume.volume_id))
    return [] if connection.execute(gone).rowcount else None


def _own(team_id: str, volume_id: str) -> ColumnElement[bool]:
    return and_(table.c.team_id == team_id, table.c.volume_id == volume_id)


def _volume(row: Row[Any]) -> Volume:
    return Volume(row.volume_id, row.team_id, row.name, row.token, row.created_at)
