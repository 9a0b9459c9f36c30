"""Queries on tags: what they stand for, and what they stood for before."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Table, and_, delete, func, insert, select

from berm.store.builds import Build
from berm.store.schema import builds, tag_moves, tags


@dataclass(frozen=True, slots=True)
class Tag:
    """What a tag stands for now, and since when."""

    tag: str
    build_id: str
    number: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Move:
    """A tag was pointed at a build, or removed if there is none. The build may be gone by now."""

    tag: str
    build_id: str | None
    number: int | None
    moved_at: datetime
    actor: str = ""


def listing(connection: Connection, template_id: str) -> list[Tag]:
    """The tags of a template, by name."""
    wanted = (
        select(tags, builds.c.number)
        .join_from(tags, builds, tags.c.build_id == builds.c.build_id)
        .where(tags.c.template_id == template_id)
        .order_by(tags.c.tag)
    )
    return [Tag(row.tag, row.build_id, row.number, row.created_at) for row in connection.execute(wanted)]


def build_id(connection: Connection, template_id: str, tag: str) -> str | None:
    """The build that a tag stands for."""
    where = and_(tags.c.template_id == template_id, tags.c.tag == tag)
    return connection.execute(select(tags.c.build_id).where(where)).scalar()


def point(connection: Connection, build: Build, names: Collection[str], now: datetime, actor: str) -> None:
    """Make tags stand for a build."""
    _drop(connection, build.template_id, names)
    to = {"build_id": build.build_id, "template_id": build.template_id}
    _insert(connection, tags, names, {**to, "created_at": now})
    _insert(connection, tag_moves, names, {**to, "number": build.number, "moved_at": now, "actor": actor})


def remove(
    connection: Connection, template_id: str, names: Collection[str], now: datetime, actor: str
) -> None:
    """Make tags stand for nothing."""
    _drop(connection, template_id, names)
    _insert(connection, tag_moves, names, {"template_id": template_id, "moved_at": now, "actor": actor})


def moves(connection: Connection, template_id: str, tag: str | None = None) -> Sequence[Move]:
    """All that happened to a tag, or to all tags, oldest first."""
    wanted = select(tag_moves).where(tag_moves.c.template_id == template_id)
    if tag is not None:
        wanted = wanted.where(tag_moves.c.tag == tag)
    rows = connection.execute(wanted.order_by(tag_moves.c.move_id))
    return [Move(row.tag, row.build_id, row.number, row.moved_at, row.actor) for row in rows]


def highest(connection: Connection, template_id: str, tag: str) -> int:
    """The highest number of the builds that a tag ever stood for; 0 if there was none."""
    where = and_(tag_moves.c.template_id == template_id, tag_moves.c.tag == tag)
    return connection.execute(select(func.max(tag_moves.c.number)).where(where)).scalar() or 0


def _drop(connection: Connection, template_id: str, names: Collection[str]) -> None:
    connection.execute(delete(tags).where(tags.c.template_id == template_id, tags.c.tag.in_(names)))


def _insert(
    connection: Connection, table: Table, names: Collection[str], values: Mapping[str, object]
) -> None:
    if names:
        connection.execute(insert(table), [{**values, "tag": tag} for tag in names])
