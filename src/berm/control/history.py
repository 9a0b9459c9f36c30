"""What became of builds: the record of each, figures over all of them, and how long they are kept."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from berm.control import lookup, tags
from berm.control.references import Reference, plain_name
from berm.control.states import now
from berm.store import builds, history, layers, paging
from berm.store import tags as tag_store
from berm.store import templates as template_store
from berm.store.builds import UNFINISHED, Build, Cause, Failure, Status
from berm.store.database import Database
from berm.store.tags import Move
from berm.templates.plan import Settings

TRIAL_KEPT: Final = timedelta(hours=1)
"""How long a trial is remembered after its end, for those who follow it."""
ABANDONED: Final = timedelta(days=1)
"""How long a build may wait for its first word."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A build, and the tags that stand for it now."""

    build: Build
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stats:
    """Figures over the builds on record; None where there is nothing to count."""

    builds: int
    succeeded: int
    failed: int
    causes: Mapping[Cause, int]
    """Of the failures."""
    success_rate: float | None
    """Of the builds that have ended."""
    cache_hit_rate: float | None
    """Of the steps that make layers."""
    median_ms: int | None
    p90_ms: int | None
    """Durations of the builds that succeeded."""
    last_deployed: datetime | None
    last_number: int | None
    """The build that succeeded last; None as well for the figures of all templates."""


class History:
    """A team sees what became of its own templates and of public ones."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def listing(self, team_id: str, reference: str, page: paging.Slice) -> paging.Page[Entry]:
        """The builds of a template, without trials. Raises BermError NOT_FOUND."""
        return await self._database.run(_listing, team_id, plain_name(reference), page)

    async def get(self, team_id: str, reference: str, which: str) -> Entry:
        """The build with this id, number or tag. Raises BermError NOT_FOUND."""
        return await self._database.run(_get, team_id, plain_name(reference), which)

    async def settings(self, team_id: str, reference: str) -> Settings:
        """The configuration of a template that is ready. Raises what `Templates.resolve` raises."""
        return await self._database.run(_settings, team_id, Reference.parse(reference))

    async def moves(self, team_id: str, reference: str, tag: str | None = None) -> Sequence[Move]:
        """What a template's tags stood for, oldest first. Raises BermError NOT_FOUND."""
        return await self._database.run(_moves, team_id, plain_name(reference), tag)

    async def stats(self, team_id: str, reference: str | None = None) -> Stats:
        """Of one template, or of all that the team has. Raises BermError NOT_FOUND."""
        name = None if reference is None else plain_name(reference)
        return await self._database.run(_stats, team_id, name)


def expire(connection: Connection, keep_builds: int, keep_days: int) -> tuple[str, ...]:
    """Delete builds that are both old and many; their ids.

    Those stay that have a tag, that a live sandbox was started from, or that a tag would go back to.
    """
    moment = now()
    oldest = moment - timedelta(days=keep_days)
    _give_up(connection, moment - ABANDONED)
    gone = [*history.ended_trials(connection, moment - TRIAL_KEPT)]
    held = history.in_use(connection)
    for template_id in history.templates(connection):
        old = history.older(connection, template_id, keep_builds, oldest)
        kept = held | _ways_back(connection, template_id) if old else held
        gone += [build_id for build_id in old if build_id not in kept]
    history.remove(connection, gone)
    layers.forget_empty(connection, oldest)
    template_store.remove_empty_trials(connection)
    return tuple(gone)


def _give_up(connection: Connection, before: datetime) -> None:
    failure = Failure("the build was asked for, but never begun", cause=Cause.INTERRUPTED)
    for build_id in history.waiting_since(connection, before):
        builds.fail(connection, build_id, failure, now())


def _ways_back(connection: Connection, template_id: str) -> set[str]:
    moves = tag_store.moves(connection, template_id)
    ways = (
        tags.before(connection, template_id, [move for move in moves if move.tag == tag.tag])
        for tag in tag_store.listing(connection, template_id)
    )
    return {build.build_id for build in ways if build}


def _listing(connection: Connection, team_id: str, name: str, page: paging.Slice) -> paging.Page[Entry]:
    record = lookup.find(connection, team_id, name)
    found = builds.listing(connection, record.template_id, page)
    tagged = _tagged(connection, record.template_id)
    return paging.Page(tuple(Entry(b, tagged.get(b.build_id, ())) for b in found.items), found.next)


def _get(connection: Connection, team_id: str, name: str, which: str) -> Entry:
    record = lookup.find(connection, team_id, name)
    build = lookup.build(connection, record, which)
    return Entry(build, _tagged(connection, record.template_id).get(build.build_id, ()))


def _tagged(connection: Connection, template_id: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for tag in tag_store.listing(connection, template_id):
        found[tag.build_id] = (*found.get(tag.build_id, ()), tag.tag)
    return found


def _settings(connection: Connection, team_id: str, reference: Reference) -> Settings:
    record = lookup.find(connection, team_id, reference.name)
    return lookup.ready_build(connection, record, reference).settings


def _moves(connection: Connection, team_id: str, name: str, tag: str | None) -> Sequence[Move]:
    return tag_store.moves(connection, lookup.find(connection, team_id, name).template_id, tag)


def _stats(connection: Connection, team_id: str, name: str | None) -> Stats:
    if name is None:
        return figures(history.of_team(connection, team_id), of_one=False)
    record = lookup.find(connection, team_id, name)
    return figures(builds.listing(connection, record.template_id, paging.Slice()).items, of_one=True)


def figures(found: Sequence[Build], *, of_one: bool) -> Stats:
    """The figures of builds without trials; `of_one`: they are all of one template."""
    ready = [build for build in found if build.status is Status.READY]
    ended = [build for build in found if build.status not in UNFINISHED]
    steps = [step for build in ended for step in build.steps if step.key]
    took = sorted(build.duration_ms for build in ready if build.duration_ms is not None)
    last = max(ready, key=lambda build: build.finished_at or build.created_at, default=None)
    return Stats(
        builds=len(found),
        succeeded=len(ready),
        failed=len(ended) - len(ready),
        causes=Counter(build.cause or Cause.INTERNAL for build in ended if build.status is Status.ERROR),
        success_rate=_share(len(ready), len(ended)),
        cache_hit_rate=_share(sum(step.cached for step in steps), len(steps)),
        median_ms=_quantile(took, 0.5),
        p90_ms=_quantile(took, 0.9),
        last_deployed=last.finished_at if last else None,
        last_number=last.number if last and of_one else None,
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _quantile(ordered: Sequence[int], share: float) -> int | None:
    """The least of the values that `share` of them do not exceed."""
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None
