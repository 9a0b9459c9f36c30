"""Queries on templates. A team sees its own templates and the public ones."""

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
from berm.store.builds import Build, Status, build_of, resources_of, settings_of
from berm.store.schema import builds, templates


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
    trial: bool = False
    """Whether it was only tried so far, and is not to be seen."""
    snapshot: bool = False
    """Whether its builds are snapshots of sandboxes."""


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


def find(connection: Connection, team_id: str, reference: str, *, trial: bool = False) -> Record | None:
    """The template with this id or name that a team means; its own goes before a public one.

    Those that were only tried are there for `trial` alone.
    """
    own_first = (templates.c.team_id == team_id).desc()
    seen = _seen_by(team_id) if trial else and_(_seen_by(team_id), ~templates.c.trial)
    wanted = select(templates).where(_named(reference), seen).order_by(own_first).limit(1)
    row = connection.execute(wanted).first()
    return _record(row) if row else None


def find_own(connection: Connection, team_id: str, name: str) -> Record | None:
    """The template of this name that belongs to a team, tried only or not."""
    where = and_(templates.c.team_id == team_id, templates.c.name == name)
    row = connection.execute(select(templates).where(where)).first()
    return _record(row) if row else None


def of_build(connection: Connection, build_id: str) -> Record | None:
    """The template of a build."""
    wanted = select(templates).join_from(templates, builds).where(builds.c.build_id == build_id)
    row = connection.execute(wanted).first()
    return _record(row) if row else None


def exists(connection: Connection, reference: str) -> bool:
    """Whether any team has such a template."""
    wanted = select(templates.c.name).where(_named(reference), ~templates.c.trial)
    return connection.execute(wanted).first() is not None


def made(connection: Connection, build_id: str) -> Template:
    """What a build that is ready made."""
    wanted = select(builds, templates.c.name).join_from(builds, templates)
    return _template(connection.execute(wanted.where(builds.c.build_id == build_id)).one())


def lock(connection: Connection, template_id: str) -> None:
    """Keep other transactions from changing a template's builds and tags until this one has ended."""
    connection.execute(select(templates.c.template_id).where(_is(template_id)).with_for_update())


def next_number(connection: Connection, template_id: str) -> int:
    """A number for a build that no build of the template has had. From now on the template is no trial."""
    number = templates.c.last_number + 1
    counted = update(templates).where(_is(template_id)).values(last_number=number, trial=False)
    given: int = connection.execute(counted.returning(templates.c.last_number)).scalar_one()
    return given


def give_back(connection: Connection, template_id: str, number: int) -> None:
    """Take back the number of a build that became a trial, unless later ones were given."""
    last = and_(_is(template_id), templates.c.last_number == number)
    connection.execute(update(templates).where(last).values(last_number=number - 1))
    other = select(builds.c.build_id).where(_of_template()).exists()
    connection.execute(update(templates).where(_is(template_id), ~other).values(trial=True))


def touch(connection: Connection, template_id: str, now: datetime) -> None:
    """Note that a template has changed."""
    connection.execute(update(templates).where(_is(template_id)).values(updated_at=now))


def publish(connection: Connection, template_id: str, public: bool, now: datetime) -> None:
    connection.execute(update(templates).where(_is(template_id)).values(public=public, updated_at=now))


def remove(connection: Connection, template_id: str) -> None:
    """Delete a template with its builds and tags."""
    connection.execute(delete(templates).where(_is(template_id)))


def remove_empty_trials(connection: Connection) -> None:
    """Delete the templates that were only tried, and whose builds are gone."""
    used = select(builds.c.build_id).where(builds.c.template_id == templates.c.template_id).exists()
    connection.execute(delete(templates).where(templates.c.trial, ~used))


def listing(connection: Connection, team_id: str, page: paging.Slice) -> paging.Page[Summary]:
    """Those that are snapshots have a list of their own."""
    wanted = _summaries().where(_seen_by(team_id), ~templates.c.trial, ~templates.c.snapshot)
    found = paging.rows(connection, wanted, templates.c.created_at, templates.c.template_id, page)
    return paging.Page(tuple(_summary(connection, row) for row in found.items), found.next)


def summary(connection: Connection, template_id: str) -> Summary:
    """Of a template that there is."""
    row = connection.execute(_summaries().where(templates.c.template_id == template_id)).one()
    return _summary(connection, row)


def _is(template_id: str) -> ColumnElement[bool]:
    return templates.c.template_id == template_id


def _named(reference: str) -> ColumnElement[bool]:
    return or_(templates.c.template_id == reference, templates.c.name == reference)


def _seen_by(team_id: str) -> ColumnElement[bool]:
    return or_(templates.c.team_id == team_id, templates.c.public)


def _of_template() -> ColumnElement[bool]:
    return and_(builds.c.template_id == templates.c.template_id, ~builds.c.trial)


def _best_build() -> ScalarSelect[str]:
    ready_first = (builds.c.status == Status.READY).desc()
    wanted = select(builds.c.build_id).where(_of_template())
    return wanted.order_by(ready_first, builds.c.created_at.desc()).limit(1).scalar_subquery()


def _summaries() -> Select[Any]:
    count = select(func.count()).where(_of_template()).scalar_subquery()
    return select(templates, _best_build().label("best"), count.label("build_count"))


def _summary(connection: Connection, row: Row[Any]) -> Summary:
    build = connection.execute(select(builds).where(builds.c.build_id == row.best)).one()
    return Summary(_record(row), build_of(build), row.build_count)


def _record(row: Row[Any]) -> Record:
    return Record(**{name: getattr(row, name) for name in Record.__slots__})


def _template(row: Row[Any]) -> Template:
    settings = settings_of(row)
    return Template(
        template_id=row.template_id,
        name=row.name,
        build_id=row.build_id,
        layers=tuple(row.layers),
        created_at=row.created_at,
        resources=resources_of(row),
        env=settings.env,
        user=settings.user or "user",
        workdir=settings.workdir,
        start_cmd=settings.start_cmd,
        ready_cmd=settings.ready_cmd,
        is_snapshot=row.snapshot_of is not None,
    )
