"""Queries on templates and their tags. A team sees its own templates and the public ones."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    ScalarSelect,
    Select,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from berm.models import Template
from berm.store import paging
from berm.store.builds import Build, Status, build_of, resources_of
from berm.store.schema import builds, tags, templates


@dataclass(frozen=True, slots=True)
class Record:
    """A template as it is listed."""

    template_id: str
    team_id: str
    name: str
    public: bool
    created_at: datetime
    updated_at: datetime
    last_spawned_at: datetime | None = None
    spawn_count: int = 0


@dataclass(frozen=True, slots=True)
class Summary:
    """A template and the state of its builds."""

    record: Record
    build: Build
    """The newest build that is ready; if none is, the newest."""
    build_count: int


def add(connection: Connection, record: Record) -> None:
    values = {name: getattr(record, name) for name in Record.__slots__}
    connection.execute(insert(templates), values)


def find(connection: Connection, team_id: str, reference: str) -> Record | None:
    """The template with this id or name that a team means; its own goes before a public one."""
    own_first = (templates.c.team_id == team_id).desc()
    wanted = select(templates).where(_named(reference), _seen_by(team_id)).order_by(own_first).limit(1)
    row = connection.execute(wanted).first()
    return _record(row) if row else None


def find_own(connection: Connection, team_id: str, name: str) -> Record | None:
    """The template of this name that belongs to a team."""
    where = and_(templates.c.team_id == team_id, templates.c.name == name)
    row = connection.execute(select(templates).where(where)).first()
    return _record(row) if row else None


def exists(connection: Connection, reference: str) -> bool:
    """Whether any team has such a template."""
    return connection.execute(select(templates.c.name).where(_named(reference))).first() is not None


def tagged(connection: Connection, template_id: str, tag: str) -> Template | None:
    """What a tag of a template stands for."""
    wanted = _made().join(tags, tags.c.build_id == builds.c.build_id)
    row = connection.execute(wanted.where(tags.c.template_id == template_id, tags.c.tag == tag)).first()
    return _template(row) if row else None


def made(connection: Connection, build_id: str) -> Template:
    """What a build that is ready made."""
    return _template(connection.execute(_made().where(builds.c.build_id == build_id)).one())


def point(connection: Connection, build: Build, now: datetime) -> None:
    """Make the tags of a build stand for it."""
    where = and_(tags.c.template_id == build.template_id, tags.c.tag.in_(build.tags))
    connection.execute(delete(tags).where(where))
    rows = [
        {"template_id": build.template_id, "tag": tag, "build_id": build.build_id, "created_at": now}
        for tag in build.tags
    ]
    connection.execute(insert(tags), rows)
    changed = update(templates).where(templates.c.template_id == build.template_id)
    connection.execute(changed.values(updated_at=now))


def listing(connection: Connection, team_id: str, page: paging.Slice) -> paging.Page[Summary]:
    wanted = _summaries().where(_seen_by(team_id))
    found = paging.rows(connection, wanted, templates.c.created_at, templates.c.template_id, page)
    return paging.Page(tuple(_summary(connection, row) for row in found.items), found.next)


def summary(connection: Connection, template_id: str) -> Summary:
    """Of a template that there is."""
    row = connection.execute(_summaries().where(templates.c.template_id == template_id)).one()
    return _summary(connection, row)


def _named(reference: str) -> ColumnElement[bool]:
    return or_(templates.c.template_id == reference, templates.c.name == reference)


def _seen_by(team_id: str) -> ColumnElement[bool]:
    return or_(templates.c.team_id == team_id, templates.c.public)


def _made() -> Select[Any]:
    """What a template is made from, still without a condition."""
    return select(builds, templates.c.name).join_from(builds, templates)


def _best_build() -> ScalarSelect[str]:
    ready_first = (builds.c.status == Status.READY).desc()
    wanted = select(builds.c.build_id).where(builds.c.template_id == templates.c.template_id)
    return wanted.order_by(ready_first, builds.c.created_at.desc()).limit(1).scalar_subquery()


def _summaries() -> Select[Any]:
    count = select(func.count()).where(builds.c.template_id == templates.c.template_id).scalar_subquery()
    return select(templates, _best_build().label("best"), count.label("build_count"))


def _summary(connection: Connection, row: Row[Any]) -> Summary:
    build = connection.execute(select(builds).where(builds.c.build_id == row.best)).one()
    return Summary(_record(row), build_of(build), row.build_count)


def _record(row: Row[Any]) -> Record:
    return Record(**{name: getattr(row, name) for name in Record.__slots__})


def _template(row: Row[Any]) -> Template:
    return Template(
        template_id=row.template_id,
        name=row.name,
        build_id=row.build_id,
        layers=tuple(row.layers),
        created_at=row.created_at,
        resources=resources_of(row),
        env=row.env,
        user=row.user,
        workdir=row.workdir,
    )
