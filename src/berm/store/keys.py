"""Queries on API keys and access tokens."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, insert, select, update

from berm.models import ApiKey, Credential, Principal
from berm.store.schema import api_keys


def add(connection: Connection, key: ApiKey, digest: str) -> None:
    values = {
        "key_id": key.key_id,
        "team_id": key.team_id,
        "name": key.name,
        "digest": digest,
        "prefix": key.prefix,
        "suffix": key.suffix,
        "length": key.length,
        "created_at": key.created_at,
        "last_used": key.last_used,
        "kind": key.kind,
    }
    connection.execute(insert(api_keys), values)


def principal(connection: Connection, digest: str) -> Principal | None:
    """Whose key or token has this digest."""
    columns = (api_keys.c.team_id, api_keys.c.key_id, api_keys.c.kind)
    row = connection.execute(select(*columns).where(api_keys.c.digest == digest)).first()
    return Principal(row.team_id, row.key_id, Credential(row.kind)) if row else None


def listing(connection: Connection, team_id: str) -> list[ApiKey]:
    """A team's API keys, oldest first."""
    where = and_(api_keys.c.team_id == team_id, api_keys.c.kind == Credential.API_KEY)
    wanted = select(api_keys).where(where).order_by(api_keys.c.created_at)
    return [_key(row) for row in connection.execute(wanted)]


def any_key(connection: Connection) -> bool:
    wanted = select(api_keys.c.key_id).where(api_keys.c.kind == Credential.API_KEY).limit(1)
    return connection.execute(wanted).first() is not None


def rename(connection: Connection, team_id: str, key_id: str, name: str) -> ApiKey | None:
    """Give an API key another name."""
    changed = (
        update(api_keys)
        .where(_own(team_id, key_id, Credential.API_KEY))
        .values(name=name)
        .returning(api_keys)
    )
    row = connection.execute(changed).first()
    return _key(row) if row else None


def remove(connection: Connection, team_id: str, key_id: str, kind: Credential = Credential.API_KEY) -> bool:
    return connection.execute(delete(api_keys).where(_own(team_id, key_id, kind))).rowcount == 1


def used(connection: Connection, key_id: str, when: datetime) -> None:
    connection.execute(update(api_keys).where(api_keys.c.key_id == key_id).values(last_used=when))


def _own(team_id: str, key_id: str, kind: Credential) -> ColumnElement[bool]:
    return and_(api_keys.c.team_id == team_id, api_keys.c.key_id == key_id, api_keys.c.kind == kind)


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        key_id=row.key_id,
        team_id=row.team_id,
        name=row.name,
        prefix=row.prefix,
        suffix=row.suffix,
        length=row.length,
        created_at=row.created_at,
        last_used=row.last_used,
        kind=Credential(row.kind),
    )
