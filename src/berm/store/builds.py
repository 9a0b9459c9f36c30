"""Queries on template builds."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Connection, Row, and_, insert, select, update

from berm.models import Resources
from berm.store import paging, tallies
from berm.store.schema import builds
from berm.store.tallies import Tally
from berm.templates.plan import Settings


class Status(StrEnum):
    WAITING = "waiting"
    BUILDING = "building"
    READY = "ready"
    ERROR = "error"


UNFINISHED = (Status.WAITING, Status.BUILDING)


class Cause(StrEnum):
    """What kind of failure ended a build."""

    DEFINITION = "definition"
    BASE_IMAGE = "base_image"
    STEP_FAILED = "step_failed"
    START_COMMAND = "start_command"
    HEALTH_CHECK = "health_check"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    NO_SPACE = "no_space"
    INTERRUPTED = "interrupted"
    """The server ended, or the client never came back."""
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class StepRecord:
    """How one step of a build went."""

    name: str
    text: str
    line: int = 0
    cached: bool = False
    duration_ms: int = 0
    """Of the step that made the layer; a cached one was made earlier."""
    size: int = 0
    """Bytes in its layer."""
    key: str = ""
    """The cache key of its layer; empty for a step that only changes the configuration."""
    state: str = "done"


@dataclass(frozen=True, slots=True)
class Build:
    """One making of a template, whether it came to an end or not."""

    build_id: str
    template_id: str
    status: Status
    tags: tuple[str, ...]
    """What it was to be known as once it is ready; what it is known as may have changed since."""
    resources: Resources
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None = None
    reason: str | None = None
    """Why it failed."""
    reason_step: str | None = None
    number: int = 0
    """From 1 for each template, in order of creation, never used again; 0 for a trial."""
    trial: bool = False
    """Whether it is only to be seen if it can be built: it gets no tag, and is soon forgotten."""
    commit: str = ""
    actor: str = ""
    digest: str = ""
    """Of all that it was made from."""
    settings: Settings = field(default_factory=Settings)
    layers: tuple[str, ...] = ()
    steps: tuple[StepRecord, ...] = ()
    size: int = 0
    """Bytes in its layers."""
    cause: Cause | None = None
    started_at: datetime | None = None
    duration_ms: int | None = None
    """From its start, or its creation if it was never started, to its end."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a build leaves behind; `layers` are directory names, bottom first."""

    layers: tuple[str, ...]
    settings: Settings
    steps: tuple[StepRecord, ...] = ()
    digest: str = ""
    size: int = 0
    snapshot_of: str | None = None
    """The sandbox that the topmost layer was taken from, if it was no step that made it."""


@dataclass(frozen=True, slots=True)
class Failure:
    reason: str
    step: str | None = None
    cause: Cause = Cause.INTERNAL


@dataclass(frozen=True, slots=True)
class BuildLine:
    """One line of a build's log."""

    timestamp: datetime
    message: str
    level: str = "info"
    step: str | None = None


def add(connection: Connection, build: Build) -> None:
    """Record a build that has been asked for."""
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
        "settings": {},
        "steps": [],
        "created_at": build.created_at,
        "updated_at": build.updated_at,
        "number": build.number or None,
        "trial": build.trial,
        "commit": build.commit,
        "actor": build.actor,
    }
    connection.execute(insert(builds), values)


def find(connection: Connection, template_id: str, build_id: str) -> Build | None:
    return _first(connection, builds.c.template_id == template_id, builds.c.build_id == build_id)


def numbered(connection: Connection, template_id: str, number: int) -> Build | None:
    return _first(connection, builds.c.template_id == template_id, builds.c.number == number)


def newest_ready(connection: Connection, template_id: str) -> Build | None:
    """The build with the highest number of those that are ready."""
    where = and_(builds.c.template_id == template_id, builds.c.status == Status.READY, ~builds.c.trial)
    row = connection.execute(select(builds).where(where).order_by(builds.c.number.desc()).limit(1)).first()
    return build_of(row) if row else None


def listing(connection: Connection, template_id: str, page: paging.Slice) -> paging.Page[Build]:
    """A template's builds, without trials."""
    wanted = select(builds).where(builds.c.template_id == template_id, ~builds.c.trial)
    found = paging.rows(connection, wanted, builds.c.created_at, builds.c.build_id, page)
    return paging.Page(tuple(map(build_of, found.items)), found.next)


def unfinished(connection: Connection, template_id: str) -> tuple[str, ...]:
    """The ids of a template's builds that wait or go on."""
    wanted = select(builds.c.build_id).where(
        builds.c.template_id == template_id, builds.c.status.in_(UNFINISHED)
    )
    return tuple(connection.execute(wanted).scalars())


def start(connection: Connection, build_id: str, now: datetime) -> Build | None:
    """Mark a waiting build as building; None if it is not waiting."""
    values = {"status": Status.BUILDING, "updated_at": now, "started_at": now}
    if not _change(connection, build_id, (Status.WAITING,), values):
        return None
    return _first(connection, builds.c.build_id == build_id)


def make_trial(connection: Connection, build_id: str) -> None:
    """Let a build be a trial, without a number."""
    connection.execute(update(builds).where(builds.c.build_id == build_id).values(trial=True, number=None))


def record_steps(connection: Connection, build_id: str, steps: Iterable[StepRecord], now: datetime) -> bool:
    """Record how far an unfinished build is; False if it is finished or unknown."""
    values = {"steps": list(map(asdict, steps)), "updated_at": now}
    return _change(connection, build_id, UNFINISHED, values)


def succeed(connection: Connection, build_id: str, made: Made, now: datetime) -> Build | None:
    """Record what an unfinished build made; None if it is finished or unknown."""
    values = {
        "status": Status.READY,
        "layers": list(made.layers),
        "settings": asdict(made.settings),
        "steps": list(map(asdict, made.steps)),
        "digest": made.digest,
        "size": made.size,
        "snapshot_of": made.snapshot_of,
    }
    return _end(connection, build_id, values, now)


def fail(connection: Connection, build_id: str, failure: Failure, now: datetime) -> Build | None:
    """Record why an unfinished build failed; None if it is finished or unknown."""
    values = {
        "status": Status.ERROR,
        "reason": failure.reason,
        "reason_step": failure.step,
        "cause": failure.cause,
    }
    return _end(connection, build_id, values, now)


def fail_unfinished(connection: Connection, reason: str, now: datetime) -> None:
    """Record that every unfinished build was interrupted."""
    wanted = select(builds.c.build_id).where(builds.c.status.in_(UNFINISHED))
    for build_id in connection.execute(wanted).scalars().all():
        fail(connection, build_id, Failure(reason, cause=Cause.INTERRUPTED), now)


_settings = TypeAdapter(Settings)


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
        number=row.number or 0,
        trial=row.trial,
        commit=row.commit,
        actor=row.actor,
        digest=row.digest,
        settings=settings_of(row),
        layers=tuple(row.layers),
        steps=tuple(StepRecord(**step) for step in row.steps),
        size=row.size,
        cause=None if row.cause is None else Cause(row.cause),
        started_at=row.started_at,
        duration_ms=row.duration_ms,
    )


def resources_of(row: Row[Any]) -> Resources:
    return Resources(row.cpu_count, row.memory_mb, row.disk_mb, row.pids)


def settings_of(row: Row[Any]) -> Settings:
    return _settings.validate_python(row.settings)


def _first(connection: Connection, *where: ColumnElement[bool]) -> Build | None:
    row = connection.execute(select(builds).where(*where)).first()
    return build_of(row) if row else None


def _change(
    connection: Connection, build_id: str, within: Collection[Status], values: Mapping[str, object]
) -> bool:
    where: ColumnElement[bool] = and_(builds.c.build_id == build_id, builds.c.status.in_(within))
    return connection.execute(update(builds).where(where).values(values)).rowcount == 1


def _end(connection: Connection, build_id: str, values: Mapping[str, object], now: datetime) -> Build | None:
    build = _first(connection, builds.c.build_id == build_id)
    if build is None:
        return None
    took = now - (build.started_at or build.created_at)
    end = {"updated_at": now, "finished_at": now, "duration_ms": round(took.total_seconds() * 1000)}
    if not _change(connection, build_id, UNFINISHED, {**values, **end}):
        return None
    ended = _first(connection, builds.c.build_id == build_id)
    if ended is not None and not ended.trial and not values.get("snapshot_of"):
        tallies.count(connection, build.template_id, _tally(ended), now)
    return ended


def _tally(build: Build) -> Tally:
    steps = [step for step in build.steps if step.key]
    cached = sum(step.cached for step in steps)
    return Tally(build.cause or build.status, 1, cached, len(steps) - cached)
