"""Queries on sandboxes. One is live until its end time, or until it was ended before that."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, case, delete, func, insert, or_, select, update

from berm.models import (
    Boot,
    Ingress,
    Lifecycle,
    OnTimeout,
    Paused,
    Resources,
    Sandbox,
    State,
    VolumeMount,
)
from berm.store import networks, paging
from berm.store.schema import sandboxes as table
from berm.store.schema import templates

KEPT = timedelta(days=1)
"""How long an ended sandbox is remembered, for requests that repeat an idempotency key."""


@dataclass(frozen=True, slots=True)
class Once:
    """An idempotency key and the digest of the request it came with."""

    key: str
    digest: str


@dataclass(frozen=True, slots=True)
class Filter:
    """Which live sandboxes of a team to list; every condition that is given must hold."""

    states: Collection[State] = tuple(State)
    template: str | None = None
    """Template id or name."""
    started_after: datetime | None = None
    metadata: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    page: paging.Page[Sandbox]
    running: int
    """How many of all that match, on every page, are running."""


@dataclass(frozen=True, slots=True)
class Expired:
    ended: tuple[str, ...]
    to_pause: tuple[str, ...]
    """Those whose time is over and that are to be paused then."""
    next_end: datetime | None
    """The earliest end of the others."""


@dataclass(frozen=True, slots=True)
class Strays:
    """What a node has of sandboxes that no record says should be there."""

    over: frozenset[str]
    """Those that run, and paused ones that have been ended."""
    unknown: frozenset[str]
    """Paused ones that were never recorded: this may be the wrong database."""


def add(connection: Connection, sandbox: Sandbox, once: Once | None = None) -> None:
    """Record a sandbox that has started, and that its template was used."""
    connection.execute(insert(table), _values(sandbox, once))
    connection.execute(
        update(templates)
        .where(templates.c.template_id == sandbox.template_id)
        .values(spawn_count=templates.c.spawn_count + 1, last_spawned_at=sandbox.started_at)
    )


def find(connection: Connection, team_id: str, sandbox_id: str, now: datetime) -> Sandbox | None:
    row = connection.execute(select(table).where(_own(team_id, sandbox_id, now))).first()
    return _sandbox(row) if row else None


def find_any(connection: Connection, sandbox_id: str) -> Sandbox | None:
    """A sandbox of any team that has not been ended, whether its time is over or not."""
    row = connection.execute(select(table).where(_unended(sandbox_id))).first()
    return _sandbox(row) if row else None


def ingresses(connection: Connection, now: datetime) -> dict[str, tuple[Ingress, str | None]]:
    """How requests reach every live sandbox, of all teams, and its access token."""
    rows = connection.execute(select(table).where(_live(now)))
    return {row.sandbox_id: (_ingress(row), row.access_token) for row in rows}


def is_known(connection: Connection, team_id: str, sandbox_id: str) -> bool:
    """Whether it is a team's sandbox, or was one not long ago."""
    where = and_(table.c.team_id == team_id, table.c.sandbox_id == sandbox_id)
    return connection.execute(select(table.c.sandbox_id).where(where)).first() is not None


def all_live(connection: Connection, now: datetime) -> set[str]:
    """The ids of all live sandboxes, of all teams."""
    return set(connection.execute(select(table.c.sandbox_id).where(_live(now))).scalars())


def allocated(connection: Connection, now: datetime) -> tuple[int, int]:
    """Processors and MiB of memory that the running sandboxes of all teams may use together."""
    sums = (func.coalesce(func.sum(column), 0) for column in (table.c.cpu_count, table.c.memory_mb))
    row = connection.execute(select(*sums).where(_live(now), table.c.state == State.RUNNING)).one()
    return int(row[0]), int(row[1])


def find_all(
    connection: Connection, team_id: str, sandbox_ids: Collection[str], now: datetime
) -> list[Sandbox]:
    """Those of the ids that are a team's live sandboxes."""
    where = and_(table.c.team_id == team_id, table.c.sandbox_id.in_(sandbox_ids), _live(now))
    return [_sandbox(row) for row in connection.execute(select(table).where(where))]


def live(connection: Connection, team_id: str, now: datetime) -> list[str]:
    """The ids of a team's sandboxes, oldest first."""
    wanted = select(table.c.sandbox_id).where(table.c.team_id == team_id, _live(now))
    return list(connection.execute(wanted.order_by(table.c.started_at)).scalars())


def running_counts(connection: Connection, now: datetime) -> dict[str, int]:
    """How many sandboxes are running, by team; teams that have none are left out."""
    running = select(table.c.team_id, func.count()).where(_live(now), table.c.state == State.RUNNING)
    return {row[0]: row[1] for row in connection.execute(running.group_by(table.c.team_id))}


def teams(connection: Connection, now: datetime) -> dict[str, str]:
    """The team of every live sandbox."""
    rows = connection.execute(select(table.c.sandbox_id, table.c.team_id).where(_live(now)))
    return {row.sandbox_id: row.team_id for row in rows}


def mounting(connection: Connection, team_id: str, volume: str, now: datetime) -> list[str]:
    """The live sandboxes of a team that have the volume of this name mounted."""
    where = and_(table.c.team_id == team_id, _live(now))
    rows = connection.execute(select(table.c.sandbox_id, table.c.volume_mounts).where(where))
    return [row.sandbox_id for row in rows if any(mount["name"] == volume for mount in row.volume_mounts)]


def find_once(connection: Connection, team_id: str, key: str) -> tuple[Sandbox, str] | None:
    """The sandbox, live or not, that was made with an idempotency key, and the request's digest."""
    where = and_(table.c.team_id == team_id, table.c.idempotency_key == key)
    row = connection.execute(select(table).where(where)).first()
    return (_sandbox(row), row.request_digest) if row else None


def listing(
    connection: Connection, team_id: str, wanted: Filter, page: paging.Slice, now: datetime
) -> Listing:
    where = _matching(connection, team_id, wanted, now)
    running = select(func.count()).select_from(table).where(where, table.c.state == State.RUNNING)
    found = paging.rows(connection, select(table).where(where), table.c.started_at, table.c.sandbox_id, page)
    return Listing(
        paging.Page(tuple(map(_sandbox, found.items)), found.next), connection.execute(running).scalar_one()
    )


def end(connection: Connection, sandbox_id: str, now: datetime) -> None:
    """Note that a sandbox is gone; nothing happens if that is known, or if it was never recorded."""
    connection.execute(update(table).where(_unended(sandbox_id)).values(ended_at=now))


def pause(
    connection: Connection, sandbox_id: str, generation: int, now: datetime, *, keeps_memory: bool
) -> Sandbox | None:
    """Note that a sandbox is paused; as it is then, None if it has been ended meanwhile."""
    values = {"state": State.PAUSED, "generation": generation, "keeps_memory": keeps_memory, "end_at": now}
    changed = update(table).where(_unended(sandbox_id)).values(values).returning(table)
    row = connection.execute(changed).first()
    return _sandbox(row) if row else None


def resume(connection: Connection, sandbox_id: str, end_at: datetime) -> Sandbox | None:
    """Note that a sandbox runs again; as it is then, None if it has been ended meanwhile."""
    values = {"state": State.RUNNING, "keeps_memory": False, "end_at": end_at}
    changed = update(table).where(_unended(sandbox_id)).values(values).returning(table)
    row = connection.execute(changed).first()
    return _sandbox(row) if row else None


def dormant(connection: Connection) -> set[str]:
    """The paused sandboxes of all teams that wake up by themselves: only their processes can."""
    wanted = and_(table.c.state == State.PAUSED, table.c.auto_resume, table.c.keeps_memory)
    found = select(table.c.sandbox_id).where(wanted, table.c.ended_at.is_(None))
    return set(connection.execute(found).scalars())


def end_own(connection: Connection, team_id: str, sandbox_id: str, now: datetime) -> bool:
    """End a team's live sandbox; False if there is none. Of two callers one gets True."""
    where = _own(team_id, sandbox_id, now)
    return connection.execute(update(table).where(where).values(ended_at=now)).rowcount == 1


def set_end(connection: Connection, team_id: str, sandbox_id: str, end_at: datetime, now: datetime) -> bool:
    """Move the end of a running sandbox, to earlier or later; False if there is none."""
    where = and_(_own(team_id, sandbox_id, now), table.c.state == State.RUNNING)
    return connection.execute(update(table).where(where).values(end_at=end_at)).rowcount == 1


def extend(
    connection: Connection, team_id: str, sandbox_id: str, end_at: datetime, now: datetime
) -> Sandbox | None:
    """Move the end of a running sandbox, to later only; a live one as it is then."""
    runs = table.c.state == State.RUNNING
    later = case((and_(runs, table.c.end_at < end_at), end_at), else_=table.c.end_at)
    changed = update(table).where(_own(team_id, sandbox_id, now)).values(end_at=later).returning(table)
    row = connection.execute(changed).first()
    return _sandbox(row) if row else None


def expire(connection: Connection, now: datetime) -> Expired:
    """End every sandbox whose time is over, and forget those that ended long ago."""
    connection.execute(delete(table).where(table.c.ended_at < now - KEPT))
    runs = and_(table.c.ended_at.is_(None), table.c.state == State.RUNNING)
    over, pausing = table.c.end_at <= now, table.c.on_timeout == OnTimeout.PAUSE
    ended = update(table).where(runs, over, ~pausing).values(ended_at=now).returning(table.c.sandbox_id)
    ids = tuple(connection.execute(ended).scalars())
    to_pause = connection.execute(select(table.c.sandbox_id).where(runs, over, pausing)).scalars()
    left = select(func.min(table.c.end_at)).where(runs, ~over)
    return Expired(ids, tuple(to_pause), connection.execute(left).scalar_one())


def adopt(
    connection: Connection, running: Collection[str], paused: Mapping[str, Paused], now: datetime
) -> Strays:
    """Take over what a node has, and end all that it does not have; what it has and should not have."""
    rows = connection.execute(select(table).where(table.c.ended_at.is_(None))).all()
    for row in rows:
        if row.sandbox_id in running:
            _adopt_running(connection, row, now)
        elif row.sandbox_id in paused:
            _adopt_paused(connection, row, paused[row.sandbox_id], now)
        else:
            end(connection, row.sandbox_id, now)
    kept = {row.sandbox_id for row in rows}
    rest = paused.keys() - kept
    ended = set(connection.execute(select(table.c.sandbox_id).where(table.c.sandbox_id.in_(rest))).scalars())
    return Strays(frozenset({*running, *ended} - kept), frozenset(rest - ended))


def _adopt_running(connection: Connection, row: Row[Any], now: datetime) -> None:
    """It may have been resumed just before the news of that was lost."""
    if row.state == State.PAUSED:
        resume(connection, row.sandbox_id, now + timedelta(seconds=row.lifetime))


def _adopt_paused(connection: Connection, row: Row[Any], paused: Paused, now: datetime) -> None:
    """Its generation never goes back: what is older than the record is not resumed."""
    memory = paused.has_processes
    is_new = paused.generation > row.generation
    if row.state == State.RUNNING or row.keeps_memory != memory or is_new:
        generation = max(row.generation, paused.generation)
        pause(connection, row.sandbox_id, generation, now, keeps_memory=memory)


def _live(now: datetime) -> ColumnElement[bool]:
    """One that is to be paused at its end is never over: it is running until it is paused."""
    stays = or_(table.c.state == State.PAUSED, table.c.on_timeout == OnTimeout.PAUSE)
    return and_(table.c.ended_at.is_(None), or_(table.c.end_at > now, stays))


def _unended(sandbox_id: str) -> ColumnElement[bool]:
    return and_(table.c.sandbox_id == sandbox_id, table.c.ended_at.is_(None))


def _own(team_id: str, sandbox_id: str, now: datetime) -> ColumnElement[bool]:
    return and_(table.c.sandbox_id == sandbox_id, table.c.team_id == team_id, _live(now))


def _matching(connection: Connection, team_id: str, wanted: Filter, now: datetime) -> ColumnElement[bool]:
    where = and_(table.c.team_id == team_id, _live(now), table.c.state.in_(wanted.states))
    if wanted.template is not None:
        where &= or_(table.c.template_id == wanted.template, table.c.template_name == wanted.template)
    if wanted.started_after is not None:
        where &= table.c.started_at >= wanted.started_after
    if wanted.metadata:
        where &= table.c.sandbox_id.in_(_with_metadata(connection, where, wanted.metadata))
    return where


def _with_metadata(
    connection: Connection, where: ColumnElement[bool], wanted: Mapping[str, str]
) -> list[str]:
    # Compared here: SQLite's JSON paths cannot name a key that holds a quote.
    rows = connection.execute(select(table.c.sandbox_id, table.c.metadata).where(where))
    return [row.sandbox_id for row in rows if wanted.items() <= row.metadata.items()]


def _values(sandbox: Sandbox, once: Once | None) -> dict[str, object]:
    return {
        "sandbox_id": sandbox.sandbox_id,
        "team_id": sandbox.team_id,
        "template_id": sandbox.template_id,
        "template_name": sandbox.template_name,
        "state": sandbox.state,
        "started_at": sandbox.started_at,
        "end_at": sandbox.end_at,
        "cpu_count": sandbox.resources.cpu_count,
        "memory_mb": sandbox.resources.memory_mb,
        "disk_mb": sandbox.resources.disk_mb,
        "pids": sandbox.resources.pids,
        "metadata": dict(sandbox.metadata),
        "access_token": sandbox.access_token,
        "allow_internet": sandbox.allow_internet,
        "idempotency_key": once and once.key,
        "request_digest": once and once.digest,
        "build_id": sandbox.build_id,
        "layers": list(sandbox.layers),
        "boot": asdict(sandbox.boot),
        "on_timeout": sandbox.lifecycle.on_timeout,
        "auto_pause_memory": sandbox.lifecycle.keep_memory,
        "auto_resume": sandbox.lifecycle.auto_resume,
        "lifetime": sandbox.lifetime,
        "generation": sandbox.generation,
        "keeps_memory": sandbox.keeps_memory,
        "traffic_token": sandbox.ingress.traffic_token,
        "mask_host": sandbox.ingress.mask_host,
        "https_ports": list(sandbox.ingress.https_ports),
        "network": networks.to_json(sandbox.egress),
        "volume_mounts": [asdict(mount) for mount in sandbox.volume_mounts],
    }


def _sandbox(row: Row[Any]) -> Sandbox:
    return Sandbox(
        sandbox_id=row.sandbox_id,
        team_id=row.team_id,
        template_id=row.template_id,
        template_name=row.template_name,
        state=State(row.state),
        started_at=row.started_at,
        end_at=row.end_at,
        resources=Resources(row.cpu_count, row.memory_mb, row.disk_mb, row.pids),
        metadata=row.metadata,
        access_token=row.access_token,
        allow_internet=row.allow_internet,
        build_id=row.build_id,
        layers=tuple(row.layers),
        boot=Boot(**row.boot),
        lifecycle=Lifecycle(OnTimeout(row.on_timeout), row.auto_pause_memory, row.auto_resume),
        lifetime=row.lifetime,
        generation=row.generation,
        keeps_memory=row.keeps_memory,
        ingress=_ingress(row),
        egress=networks.from_json(row.network),
        volume_mounts=tuple(VolumeMount(**mount) for mount in row.volume_mounts),
    )


def _ingress(row: Row[Any]) -> Ingress:
    return Ingress(row.traffic_token, row.mask_host, tuple(row.https_ports))
