"""Queries on secrets. Their values are sealed before they come here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, exists, insert, or_, select, update

from berm.store import paging
from berm.store.schema import secrets as table


@dataclass(frozen=True, slots=True)
class Secret:
    secret_id: str
    team_id: str
    name: str
    version: int
    metadata: Mapping[str, str]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Sealed:
    """A value as it is kept, and the name of the key that opens it."""

    value: bytes = field(repr=False)
    by: str


def add(connection: Connection, secret: Secret, sealed: Sealed) -> bool:
    """False if the team has one of that name."""
    where = and_(table.c.team_id == secret.team_id, table.c.name == secret.name)
    if connection.execute(select(exists().where(where))).scalar_one():
        return False
    values = {
        "secret_id": secret.secret_id,
        "team_id": secret.team_id,
        "name": secret.name,
        "version": secret.version,
        "sealed": sealed.value,
        "sealed_by": sealed.by,
        "metadata": dict(secret.metadata),
        "created_at": secret.created_at,
        "updated_at": secret.updated_at,
    }
    connection.execute(insert(table), values)
    return True


def find(connection: Connection, team_id: str, reference: str) -> tuple[Secret, Sealed] | None:
    """A team's secret with this id or name."""
    row = connection.execute(select(table).where(_own(team_id, reference))).first()
    return (_secret(row), Sealed(row.sealed, row.sealed_by)) if row else None


def listing(connection: Connection, team_id: str, page: paging.Slice) -> paging.Page[Secret]:
    wanted = select(table).where(table.c.team_id == team_id)
    found = paging.rows(connection, wanted, table.c.created_at, table.c.secret_id, page)
    return paging.Page(tuple(map(_secret, found.items)), found.next)


def replace(connection: Connection, secret: Secret, sealed: Sealed) -> None:
    """Put a new version in the place of the one before."""
    values = {
        "version": secret.version,
        "sealed": sealed.value,
        "sealed_by": sealed.by,
        "metadata": dict(secret.metadata),
        "updated_at": secret.updated_at,
    }
    connection.execute(update(table).where(table.c.secret_id == secret.secret_id).values(values))


def remove(connection: Connection, team_id: str, reference: str) -> bool:
    return connection.execute(delete(table).where(_own(team_id, reference))).rowcount == 1


def seals(connection: Connection) -> set[str]:
    """The names of all keys that something is sealed with."""
    return set(connection.execute(select(table.c.sealed_by).distinct()).scalars())


def _own(team_id: str, reference: str) -> ColumnElement[bool]:
    return and_(table.c.team_id == team_id, or_(table.c.secret_id == reference, table.c.name == reference))


def _secret(row: Row[Any]) -> Secret:
    return Secret(
        secret_id=row.secret_id,
        team_id=row.team_id,
        name=row.name,
        version=row.version,
        metadata=row._mapping[table.c.metadata],
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
