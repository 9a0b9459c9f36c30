"""Queries on layers: which of them stands for a cache key, and which are referred to."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from berm.models import Layer
from berm.store.builds import Status
from berm.store.schema import builds, layers, sandboxes


@dataclass(frozen=True, slots=True)
class CachedLayer:
    """The layer that a cache key stands for."""

    layer: Layer
    duration_ms: int
    """How long it took to make."""
    created_at: datetime


def find(connection: Connection, keys: Collection[str]) -> dict[str, CachedLayer]:
    """Those of the keys that stand for something."""
    rows = connection.execute(select(layers).where(layers.c.key.in_(keys)))
    return {row.key: CachedLayer(Layer(row.name, row.size), row.duration_ms, row.created_at) for row in rows}


def touch(connection: Connection, keys: Collection[str], now: datetime) -> None:
    """Note that the layers of keys were used."""
    connection.execute(update(layers).where(layers.c.key.in_(keys)).values(used_at=now))


def record(connection: Connection, key: str, team_id: str, cached: CachedLayer) -> None:
    """Let a key stand for a new layer, and no longer for another."""
    connection.execute(delete(layers).where(layers.c.key == key))
    values = {
        "key": key,
        "team_id": team_id,
        "name": cached.layer.name,
        "size": cached.layer.size,
        "duration_ms": cached.duration_ms,
        "created_at": cached.created_at,
        "used_at": cached.created_at,
    }
    connection.execute(insert(layers), values)


def forget(connection: Connection, names: Collection[str]) -> None:
    """Let no key stand for these layers."""
    connection.execute(delete(layers).where(layers.c.name.in_(names)))


def forget_unfinished(connection: Connection) -> None:
    """Let keys stand only for layers of builds that are ready, and for none."""
    ready = select(builds.c.layers).where(builds.c.status == Status.READY)
    kept = {"", *(name for names in connection.execute(ready).scalars() for name in names)}
    forget(connection, set(connection.execute(select(layers.c.name)).scalars()) - kept)


def forget_empty(connection: Connection, used_before: datetime) -> None:
    """Forget the keys whose steps wrote nothing, and were not used since."""
    connection.execute(delete(layers).where(layers.c.name == "", layers.c.used_at < used_before))


def referred(connection: Connection, used_since: datetime) -> set[str]:
    """The layers of recorded builds, of sandboxes that have not ended, and of keys used since."""
    cached = select(layers.c.name).where(layers.c.used_at >= used_since)
    return {*connection.execute(cached).scalars(), *_of_builds(connection), *_of_sandboxes(connection)}


def _of_builds(connection: Connection) -> Iterator[str]:
    for names in connection.execute(select(builds.c.layers).where(~builds.c.trial)).scalars():
        yield from names


def _of_sandboxes(connection: Connection) -> Iterator[str]:
    live = sandboxes.c.ended_at.is_(None)
    for names in connection.execute(select(sandboxes.c.layers).where(live)).scalars():
        yield from names
