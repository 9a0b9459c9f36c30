"""Queries on all builds: which are old, which are in use, and all of a team."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, and_, delete, func, select

from berm.observability.metrics import Deployment
from berm.store.builds import UNFINISHED, Build, Status, build_of
from berm.store.schema import builds, sandboxes, tags
from berm.store.schema import templates as table


def of_team(connection: Connection, team_id: str) -> list[Build]:
    """The builds of all templates that belong to a team, without trials."""
    wanted = select(builds).join(table).where(table.c.team_id == team_id, ~builds.c.trial)
    return [build_of(row) for row in connection.execute(wanted)]


def templates(connection: Connection) -> list[str]:
    """The ids of all templates."""
    return list(connection.execute(select(table.c.template_id)).scalars())


def older(connection: Connection, template_id: str, keep: int, before: datetime) -> list[str]:
    """The builds of a template that ended before a time, without the `keep` newest and without trials."""
    ended = and_(builds.c.template_id == template_id, builds.c.status.not_in(UNFINISHED), ~builds.c.trial)
    newest_first = (
        select(builds.c.build_id, builds.c.finished_at).where(ended).order_by(builds.c.number.desc())
    )
    rows = connection.execute(newest_first.offset(max(keep, 1))).all()
    return [row.build_id for row in rows if row.finished_at < before]


def in_use(connection: Connection) -> set[str]:
    """The builds that have a tag, or that a sandbox that has not ended was started from."""
    live = select(sandboxes.c.build_id).where(sandboxes.c.ended_at.is_(None))
    return {*connection.execute(select(tags.c.build_id)).scalars(), *connection.execute(live).scalars()}


def ended_trials(connection: Connection, before: datetime) -> list[str]:
    """The trials that ended before a time."""
    wanted = select(builds.c.build_id).where(builds.c.trial, builds.c.finished_at < before)
    return list(connection.execute(wanted).scalars())


def waiting_since(connection: Connection, before: datetime) -> list[str]:
    """The builds that were asked for before a time and have not begun."""
    where = and_(builds.c.status == Status.WAITING, builds.c.created_at < before)
    return list(connection.execute(select(builds.c.build_id).where(where)).scalars())


def remove(connection: Connection, build_ids: Collection[str]) -> None:
    """Delete builds with their logs."""
    connection.execute(delete(builds).where(builds.c.build_id.in_(build_ids)))


def unfinished_of(connection: Connection, team_id: str) -> list[tuple[str, str]]:
    """The builds of a team that have not ended, trials too: ids of template and build."""
    where = and_(table.c.team_id == team_id, builds.c.status.in_(UNFINISHED))
    wanted = select(table.c.template_id, builds.c.build_id).join_from(table, builds).where(where)
    return [(row.template_id, row.build_id) for row in connection.execute(wanted)]


def unfinished(connection: Connection) -> list[tuple[str, int]]:
    """How many builds have each of the states before the end."""
    counts = select(builds.c.status, func.count()).where(builds.c.status.in_(UNFINISHED))
    found: dict[str, int] = {row[0]: row[1] for row in connection.execute(counts.group_by(builds.c.status))}
    return [(status.value, found.get(status.value, 0)) for status in UNFINISHED]


def deployed(connection: Connection, team_id: str) -> list[Deployment]:
    """Of each template of a team that has a build that succeeded, by name."""
    ready = and_(builds.c.template_id == table.c.template_id, builds.c.status == Status.READY)
    last = select(func.max(builds.c.number)).where(ready).correlate(table).scalar_subquery()
    wanted = (
        select(table.c.name, builds.c.number, builds.c.finished_at)
        .join(builds, and_(builds.c.template_id == table.c.template_id, builds.c.number == last))
        .where(table.c.team_id == team_id)
        .order_by(table.c.name)
    )
    return [Deployment(row.name, row.number, row.finished_at) for row in connection.execute(wanted)]
