"""Queries on template builds and their logs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, insert, select, update

from berm.models import Resources
from berm.store import paging
from berm.store.schema import build_logs, builds


class Status(StrEnum):
    WAITING = "waiting"
    BUILDING = "building"
    READY = "ready"
    ERROR = "error"


UNFINISHED = (Status.WAITING, Status.BUILDING)


@dataclass(frozen=True, slots=True)
class Build:
    """One making of a template, whether it came to an end or not."""

    build_id: str
    template_id: str
    status: Status
    tags: tuple[str, ...]
    """What the build will be known as once it is ready."""
    resources: Resources
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None = None
    reason: str | None = None
    """Why it failed."""
    reason_step: str | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """What a build leaves behind: directory names of layers, bottom first, and defaults for processes."""

    layers: tuple[str, ...]
    env: Mapping[str, str]
    user: str
    workdir: str


@dataclass(frozen=True, slots=True)
class BuildLine:
    """One line of a build's log."""

    timestamp: datetime
    message: str
    level: str = "info"
    step: str | None = None


def add(connection: Connection, build: Build) -> None:
    values = {
        "build_id": build.build_id,
        "template_id": build.template_id,
        "status": build.status,
        "tags": list(build.tags),
        "cpu_count": build.resources.cpu_count,
        "memory_mb": build.resources.memory_mb,
        "disk_mb": build.resources.disk_mb,
        "pids": build.resources.pids,
        "layers": [],
        "env": {},
        "user": "",
        "workdir": "",
        "created_at": build.created_at,
        "updated_at": build.updated_at,
    }
    connection.execute(insert(builds), values)


def find(connection: Connection, template_id: str, build_id: str) -> Build | None:
    where = and_(builds.c.template_id == template_id, builds.c.build_id == build_id)
    row = connection.execute(select(builds).where(where)).first()
    return build_of(row) if row else None


def listing(connection: Connection, template_id: str, page: paging.Slice) -> paging.Page[Build]:
    """A template's builds."""
    wanted = select(builds).where(builds.c.template_id == template_id)
    found = paging.rows(connection, wanted, builds.c.created_at, builds.c.build_id, page)
    return paging.Page(tuple(map(build_of, found.items)), found.next)


def start(connection: Connection, build_id: str, now: datetime) -> bool:
    """Mark a waiting build as building; False if it is not waiting."""
    return _change(connection, build_id, (Status.WAITING,), status=Status.BUILDING, updated_at=now)


def succeed(connection: Connection, build_id: str, made: Made, now: datetime) -> bool:
    """Record what an unfinished build made; False if it is finished or unknown."""
    return _change(
        connection,
        build_id,
        UNFINISHED,
        status=Status.READY,
        layers=list(made.layers),
        env=dict(made.env),
        user=made.user,
        workdir=made.workdir,
        updated_at=now,
        finished_at=now,
    )


def fail(connection: Connection, build_id: str, reason: str, step: str | None, now: datetime) -> bool:
    """Record why an unfinished build failed; False if it is finished or unknown."""
    return _change(connection, build_id, UNFINISHED, **_failed(reason, step, now))


def fail_unfinished(connection: Connection, reason: str, now: datetime) -> None:
    """Record that every unfinished build has failed."""
    where = builds.c.status.in_(UNFINISHED)
    connection.execute(update(builds).where(where).values(**_failed(reason, None, now)))


def log(connection: Connection, build_id: str, lines: Sequence[BuildLine]) -> None:
    """Append lines to a build's log."""
    written = select(func.count()).select_from(build_logs).where(build_logs.c.build_id == build_id)
    first = connection.execute(written).scalar_one()
    rows = [_line_values(build_id, number, line) for number, line in enumerate(lines, first)]
    if rows:
        connection.execute(insert(build_logs), rows)


def lines(
    connection: Connection, build_id: str, levels: Collection[str], offset: int, limit: int
) -> list[BuildLine]:
    """A build's log lines of the given levels, oldest first."""
    where = and_(build_logs.c.build_id == build_id, build_logs.c.level.in_(levels))
    wanted = select(build_logs).where(where).order_by(build_logs.c.line).offset(offset).limit(limit)
    return [_line(row) for row in connection.execute(wanted)]


def build_of(row: Row[Any]) -> Build:
    """The build in a row that has all columns of `builds`."""
    return Build(
        build_id=row.build_id,
        template_id=row.template_id,
        status=Status(row.status),
        tags=tuple(row.tags),
        resources=resources_of(row),
        created_at=row.created_at,
        updated_at=row.updated_at,
        finished_at=row.finished_at,
        reason=row.reason,
        reason_step=row.reason_step,
    )


def resources_of(row: Row[Any]) -> Resources:
    return Resources(row.cpu_count, row.memory_mb, row.disk_mb, row.pids)


def _change(connection: Connection, build_id: str, within: Collection[Status], **values: object) -> bool:
    where: ColumnElement[bool] = and_(builds.c.build_id == build_id, builds.c.status.in_(within))
    return connection.execute(update(builds).where(where).values(**values)).rowcount == 1


def _failed(reason: str, step: str | None, now: datetime) -> dict[str, object]:
    return {
        "status": Status.ERROR,
        "reason": reason,
        "reason_step": step,
        "updated_at": now,
        "finished_at": now,
    }


def _line_values(build_id: str, number: int, line: BuildLine) -> dict[str, object]:
    return {
        "build_id": build_id,
        "line": number,
        "timestamp": line.timestamp,
        "level": line.level,
        "message": line.message,
        "step": line.step,
    }


def _line(row: Row[Any]) -> BuildLine:
    return BuildLine(row.timestamp, row.message, row.level, row.step)
