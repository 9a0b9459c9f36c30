"""Queries on snapshots: each is a build of a template that has no others, known by its tags."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, or_, select

from berm.store import paging
from berm.store.schema import builds, tags, templates


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was kept of a sandbox at one moment."""

    template_id: str
    name: str
    """The template's; its id if nobody named it."""
    tag: str
    created_at: datetime

    @property
    def is_named(self) -> bool:
        return self.name != self.template_id


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which snapshots of a team to list; every condition that is given must hold."""

    sandbox_id: str | None = None
    name: str | None = None
    """Id or name of the template."""
    tag: str | None = None


def listing(
    connection: Connection, team_id: str, wanted: Wanted, page: paging.Slice
) -> paging.Page[Snapshot]:
    conditions = [templates.c.team_id == team_id, templates.c.snapshot]
    if wanted.sandbox_id is not None:
        conditions.append(builds.c.snapshot_of == wanted.sandbox_id)
    if wanted.name is not None:
        conditions.append(or_(templates.c.template_id == wanted.name, templates.c.name == wanted.name))
    if wanted.tag is not None:
        conditions.append(tags.c.tag == wanted.tag)
    key = (tags.c.template_id + ":" + tags.c.tag).label("key")
    found = (
        select(tags, templates.c.name, key)
        .join_from(tags, templates, tags.c.template_id == templates.c.template_id)
        .join(builds, tags.c.build_id == builds.c.build_id)
        .where(and_(*conditions))
    )
    rows = paging.rows(connection, found, tags.c.created_at, key, page)
    return paging.Page(tuple(map(_snapshot, rows.items)), rows.next)


def drop_build(connection: Connection, template_id: str, tag: str) -> bool:
    """Delete the build that a tag stands for, with all its tags; whether the template has others."""
    where = and_(tags.c.template_id == template_id, tags.c.tag == tag)
    build_id = connection.execute(select(tags.c.build_id).where(where)).scalar()
    connection.execute(delete(builds).where(builds.c.build_id == build_id))
    left = select(tags.c.tag).where(tags.c.template_id == template_id)
    return connection.execute(left).first() is not None


def _snapshot(row: Row[Any]) -> Snapshot:
    return Snapshot(row.template_id, row.name, row.tag, row.created_at)
