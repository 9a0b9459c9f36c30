"""Templates: which one a name means, the builds that make them, and the tags that stand for builds."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from sqlalchemy import Connection

from berm.control import history, lookup, recording, tags
from berm.control.layers import Layers
from berm.control.recording import NewBuild
from berm.control.references import LATEST, Reference, plain_name
from berm.control.states import now
from berm.control.tags import Assigned, RolledBack
from berm.models import Resources, Template
from berm.observability.logs import at_least
from berm.observability.metrics import Metrics
from berm.store import build_logs, builds, paging
from berm.store import templates as store
from berm.store.builds import Build, BuildLine, Cause, Failure, Made, StepRecord
from berm.store.database import Database
from berm.store.tags import Tag
from berm.store.templates import Record, Summary
from berm.templates.plan import Settings


class Templates:
    """A template's name belongs to its team; public templates can be used by every team."""

    def __init__(self, database: Database, metrics: Metrics | None = None) -> None:
        self._database = database
        self._metrics = metrics or Metrics()
        self._layers = Layers(database)
        self._ready: dict[tuple[str, str], Template] = {}
        self._changes = 0

    async def resolve(self, team_id: str, reference: str) -> Template:
        """The template to start a sandbox from, by id or name, with a tag or `@` and a build.

        Raises BermError NOT_FOUND, UNAVAILABLE while its first build is running, CONFLICT if that failed.
        """
        known = self._ready.get((team_id, reference))
        return known or await self._look_up(team_id, reference)

    async def list(self, team_id: str, page: paging.Slice) -> paging.Page[Summary]:
        """The templates that a team can use."""
        return await self._database.run(store.listing, team_id, page)

    async def get(self, team_id: str, reference: str) -> Summary:
        """Raises BermError NOT_FOUND."""
        return await self._database.run(_summary, team_id, Reference.parse(reference).name)

    async def get_own(self, team_id: str, reference: str) -> Record:
        """A template, to change it. Raises BermError NOT_FOUND, PERMISSION_DENIED for another team's."""
        return await self._database.run(lookup.find_own, team_id, plain_name(reference), trial=True)

    async def find_alias(self, team_id: str, alias: str) -> Record:
        """Raises BermError NOT_FOUND, PERMISSION_DENIED if only other teams have such a template."""
        return await self._database.run(lookup.find_alias, team_id, Reference.parse(alias).name)

    async def update(self, team_id: str, reference: str, *, public: bool) -> Record:
        """Give a template to every team, or to its own only. Raises what `get_own` raises."""
        record = await self._database.run(_publish, team_id, plain_name(reference), public)
        self._changed()
        return record

    async def delete(self, team_id: str, reference: str) -> tuple[str, ...]:
        """Delete a template with its builds and tags; returns the ids of builds that were not finished.

        Sandboxes live on. Raises what `get_own` raises, and INVALID_ARGUMENT for a tag or a build.
        """
        going_on = await self._database.run(recording.delete, team_id, plain_name(reference))
        self._changed()
        return going_on

    async def builds(self, team_id: str, reference: str, page: paging.Slice) -> paging.Page[Build]:
        """The builds of a template, without trials. Raises BermError NOT_FOUND."""
        return await self._database.run(_builds, team_id, Reference.parse(reference).name, page)

    async def build(self, team_id: str, reference: str, which: str) -> Build:
        """The build with this id, number or tag; a trial by its id. Raises BermError NOT_FOUND."""
        return await self._database.run(_build, team_id, Reference.parse(reference).name, which)

    async def own_build(self, team_id: str, reference: str, which: str) -> Build:
        """A build, to change it. Raises what `build` and `get_own` raise."""
        return await self._database.run(_own_build, team_id, Reference.parse(reference).name, which)

    async def newest(self, team_id: str, name: str) -> Build | None:
        """The newest build of a team's own template that is ready."""
        return await self._database.run(_newest, team_id, Reference.parse(name).name)

    async def lines(
        self, build_id: str, offset: int, limit: int, level: str = "debug"
    ) -> Sequence[BuildLine]:
        """A build's log from line `offset` on, without the lines less severe than `level`."""
        return await self._database.run(build_logs.lines, build_id, at_least(level), offset, limit)

    async def lines_at(
        self, build_id: str, moment: datetime | None, limit: int, level: str, *, backward: bool
    ) -> Sequence[BuildLine]:
        """A build's log from a moment on, or from there back, without the lines less severe than `level`."""
        return await self._database.run(
            build_logs.lines_at, build_id, at_least(level), moment, limit, backward=backward
        )

    async def begin(
        self,
        team_id: str,
        name: str,
        tags: Sequence[str] = (),
        resources: Resources = Resources(),  # noqa: B008 - frozen
        public: bool = False,
        *,
        commit: str = "",
        actor: str = "",
    ) -> Build:
        """Register a build, and the template if it is the first of its name.

        `name` may be name:tag. What the tags stood for stays until the build is finished. Raises BermError
        INVALID_ARGUMENT, CONFLICT for a version that another build has.
        """
        known_as = Reference.parse_all(name, tags)
        wanted = NewBuild(known_as, resources, public, commit, actor)
        return await self._database.run(recording.begin, team_id, wanted)

    async def start(self, build_id: str, *, trial: bool = False) -> None:
        """Note that a build has left the queue. Raises BermError CONFLICT if it is not waiting.

        A trial gets no tag and no number, is in no list, and is forgotten an hour after its end, with its
        template if that has no other build.
        """
        await self._database.run(recording.start, build_id, trial=trial)

    async def log(self, build_id: str, *messages: str, level: str = "info", step: str | None = None) -> None:
        """Append messages to the log of a build."""
        moment = now()
        await self.append(build_id, [BuildLine(moment, message, level, step) for message in messages])

    async def append(self, build_id: str, lines: Sequence[BuildLine]) -> None:
        """Append lines to the log of a build."""
        await self._database.run(build_logs.append, build_id, lines)

    async def note_steps(self, build_id: str, steps: Iterable[StepRecord]) -> None:
        """Record the steps of a build so far; nothing happens if it is finished."""
        await self._database.run(builds.record_steps, build_id, steps, now())

    async def finish(
        self,
        build: Build,
        layers: Sequence[str],
        settings: Settings = Settings(user="user"),  # noqa: B008 - frozen
        *,
        steps: Iterable[StepRecord] = (),
        digest: str = "",
        size: int = 0,
    ) -> Template:
        """Make a build's tags stand for what it made: directory names of layers, bottom first.

        A tag that a later build has had already stays where it is. Raises BermError CONFLICT if the build is
        finished or gone, or if a version was given to another build meanwhile; then nothing has changed.
        """
        made = Made(tuple(layers), settings, tuple(steps), digest, size)
        ended, template = await self._database.run(recording.finish, build.build_id, made)
        self._changed()
        self._observe(ended)
        return template

    async def fail(
        self, build_id: str, reason: str, step: str | None = None, cause: Cause = Cause.INTERNAL
    ) -> None:
        """Note why a build failed. Raises BermError CONFLICT if it is finished already, or gone."""
        ended = await self._database.run(builds.fail, build_id, Failure(reason, step, cause), now())
        if ended is None:
            raise recording.not_unfinished(build_id)
        self._observe(ended)

    def would_tag(self, name: str, tags: Sequence[str] = ()) -> tuple[str, ...]:
        """The tags of a build that is asked for like this. Raises BermError INVALID_ARGUMENT."""
        return tuple(dict.fromkeys(reference.tag for reference in Reference.parse_all(name, tags)))

    async def check_tags(self, team_id: str, name: str, tags: Sequence[str] = ()) -> tuple[str, ...]:
        """The same, for a dry run; also raises CONFLICT for a version that another build has."""
        await self._database.run(recording.check, team_id, Reference.parse_all(name, tags))
        return self.would_tag(name, tags)

    async def tags(self, team_id: str, reference: str) -> Sequence[Tag]:
        """The tags of a template, by name. Raises BermError NOT_FOUND."""
        return await self._database.run(tags.listing, team_id, reference)

    async def assign_tags(self, team_id: str, target: str, names: Iterable[str], actor: str = "") -> Assigned:
        """Point tags at the build that `target` (name:tag) means. Raises what `tags.assign` raises."""
        assigned = await self._database.run(tags.assign, team_id, target, names, actor)
        self._changed()
        return assigned

    async def remove_tags(self, team_id: str, name: str, names: Iterable[str], actor: str = "") -> None:
        """Remove all these tags, or none: raises BermError NOT_FOUND if one is not there."""
        await self._database.run(tags.remove, team_id, name, names, actor)
        self._changed()

    async def rollback(
        self, team_id: str, reference: str, tag: str = LATEST, to: int | None = None, actor: str = ""
    ) -> RolledBack:
        """Move a tag back to build `to`, or to where it was before. Raises what `tags.rollback` raises."""
        moved = await self._database.run(tags.rollback, team_id, reference, tag or LATEST, to, actor=actor)
        self._changed()
        return moved

    async def expire(self, keep_builds: int, keep_days: int) -> Sequence[str]:
        """Delete the builds that are old and many and not in use; their ids."""
        gone = await self._database.run(history.expire, keep_builds, keep_days)
        self._changed()
        return gone

    async def unused(self, names: Collection[str], cache_days: int) -> Collection[str]:
        """Those of the layers that nothing refers to; see `Layers.unused`."""
        return await self._layers.unused(names, cache_days)

    def forget(self) -> None:
        """Others have changed what names mean."""
        self._changed()

    def _observe(self, ended: Build) -> None:
        self._metrics.build_ended(ended.status, (ended.duration_ms or 0) / 1000)

    async def _look_up(self, team_id: str, reference: str) -> Template:
        changes = self._changes
        template = await self._database.run(lookup.ready, team_id, reference)
        # An answer from before a change must not be remembered after it.
        if changes == self._changes:
            self._ready[team_id, reference] = template
        return template

    def _changed(self) -> None:
        self._changes += 1
        self._ready.clear()


def _summary(connection: Connection, team_id: str, name: str) -> Summary:
    return store.summary(connection, lookup.find(connection, team_id, name).template_id)


def _publish(connection: Connection, team_id: str, name: str, public: bool) -> Record:
    record = lookup.find_own(connection, team_id, name)
    store.publish(connection, record.template_id, public, now())
    return lookup.find_own(connection, team_id, record.template_id)


def _builds(connection: Connection, team_id: str, name: str, page: paging.Slice) -> paging.Page[Build]:
    return builds.listing(connection, lookup.find(connection, team_id, name).template_id, page)


def _build(connection: Connection, team_id: str, name: str, which: str) -> Build:
    return lookup.build(connection, lookup.find(connection, team_id, name, trial=True), which)


def _own_build(connection: Connection, team_id: str, name: str, which: str) -> Build:
    return lookup.build(connection, lookup.find_own(connection, team_id, name, trial=True), which)


def _newest(connection: Connection, team_id: str, name: str) -> Build | None:
    record = store.find_own(connection, team_id, name)
    return builds.newest_ready(connection, record.template_id) if record else None
