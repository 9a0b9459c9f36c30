"""Templates: which one a name means, and the builds that make them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from berm import ids
from berm.control.states import now
from berm.errors import BermError, Code
from berm.models import Resources, Template
from berm.observability.logs import at_least
from berm.store import builds, paging
from berm.store import templates as store
from berm.store.builds import Build, BuildLine, Made, Status
from berm.store.database import Database
from berm.store.templates import Record, Summary

DEFAULT_TAG = "default"

_PART = r"[a-z0-9][a-z0-9_.-]*"
_REFERENCE = re.compile(rf"((?:{_PART}/)?{_PART})(?::({_PART}))?")
_LONGEST = 256


@dataclass(frozen=True, slots=True)
class Reference:
    """What a caller calls a template: an id or a name, and a tag."""

    name: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """`name`, `id`, `name:tag` or `id:tag`. Raises BermError INVALID_ARGUMENT."""
        found = _REFERENCE.fullmatch(text) if len(text) <= _LONGEST else None
        if found is None:
            raise BermError(
                Code.INVALID_ARGUMENT,
                f"template {text[:_LONGEST]!r} is not a name or name:tag",
                "names and tags are of lowercase letters, digits, '-', '_' and '.'",
            )
        return cls(found[1], found[2] or DEFAULT_TAG)

    @classmethod
    def parse_all(cls, name: str, tags: Sequence[str]) -> list["Reference"]:
        """What a build is to be known as: the tag in `name`, if any, and `tags`, or else the default one."""
        plain = name.partition(":")[0]
        named = [name] if ":" in name or not tags else []
        return [cls.parse(text) for text in (*named, *(f"{plain}:{tag}" for tag in tags))]


class Templates:
    """A template's name belongs to its team; public templates can be used by every team."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ready: dict[tuple[str, str], Template] = {}
        self._changes = 0

    async def resolve(self, team_id: str, reference: str) -> Template:
        """The template to start a sandbox from, by id, name or name:tag.

        Raises BermError NOT_FOUND, UNAVAILABLE while its first build is running, CONFLICT if that failed.
        """
        known = self._ready.get((team_id, reference))
        return known or await self._look_up(team_id, reference)

    async def list(self, team_id: str, page: paging.Slice) -> paging.Page[Summary]:
        """The templates that a team can use."""
        return await self._database.run(store.listing, team_id, page)

    async def get(self, team_id: str, reference: str) -> Summary:
        """Raises BermError NOT_FOUND."""
        return await self._database.run(_summary, team_id, Reference.parse(reference))

    async def find_alias(self, team_id: str, alias: str) -> Record:
        """Raises BermError NOT_FOUND, PERMISSION_DENIED if only other teams have such a template."""
        return await self._database.run(_find_alias, team_id, Reference.parse(alias))

    async def builds(self, team_id: str, reference: str, page: paging.Slice) -> paging.Page[Build]:
        """The builds of a template. Raises BermError NOT_FOUND."""
        return await self._database.run(_builds, team_id, Reference.parse(reference), page)

    async def build(self, team_id: str, reference: str, build_id: str) -> Build:
        """Raises BermError NOT_FOUND."""
        return await self._database.run(_build, team_id, Reference.parse(reference), build_id)

    async def lines(
        self, build_id: str, offset: int, limit: int, level: str = "debug"
    ) -> Sequence[BuildLine]:
        """A build's log from line `offset` on, without the lines less severe than `level`."""
        return await self._database.run(builds.lines, build_id, at_least(level), offset, limit)

    async def begin(
        self,
        team_id: str,
        name: str,
        tags: Sequence[str] = (),
        resources: Resources = Resources(),  # noqa: B008 - frozen
        public: bool = False,
    ) -> Build:
        """Register a build, and the template if it is the first of its name.

        `name` may be name:tag. What the tags stood for stays until the build is finished.
        """
        known_as = Reference.parse_all(name, tags)
        unique = tuple(dict.fromkeys(reference.tag for reference in known_as))
        return await self._database.run(_begin, team_id, known_as[0].name, unique, resources, public=public)

    async def start(self, build_id: str) -> None:
        """Note that a build has left the queue. Raises BermError CONFLICT if it is not waiting."""
        if not await self._database.run(builds.start, build_id, now()):
            raise _not_unfinished(build_id)

    async def log(self, build_id: str, *messages: str, level: str = "info", step: str | None = None) -> None:
        """Append lines to the log of a build."""
        moment = now()
        lines = [BuildLine(moment, message, level, step) for message in messages]
        await self._database.run(builds.log, build_id, lines)

    async def finish(
        self,
        build: Build,
        layers: Sequence[str],
        env: Mapping[str, str] | None = None,
        user: str = "user",
        workdir: str = "",
    ) -> Template:
        """Make a build's tags stand for what it made: directory names of layers, bottom first.

        Raises BermError CONFLICT if the build is finished already.
        """
        made = Made(tuple(layers), dict(env or {}), user, workdir)
        template = await self._database.run(_finish, build, made)
        self._changed()
        return template

    async def fail(self, build_id: str, reason: str, step: str | None = None) -> None:
        """Note why a build failed. Raises BermError CONFLICT if it is finished already."""
        if not await self._database.run(builds.fail, build_id, reason, step, now()):
            raise _not_unfinished(build_id)

    async def _look_up(self, team_id: str, reference: str) -> Template:
        changes = self._changes
        template = await self._database.run(_ready, team_id, reference)
        # An answer from before a change must not be remembered after it.
        if changes == self._changes:
            self._ready[team_id, reference] = template
        return template

    def _changed(self) -> None:
        self._changes += 1
        self._ready.clear()


def _find(connection: Connection, team_id: str, reference: Reference) -> Record:
    record = store.find(connection, team_id, reference.name)
    if record is None:
        raise _no_template(reference.name)
    return record


def _find_alias(connection: Connection, team_id: str, reference: Reference) -> Record:
    if store.find(connection, team_id, reference.name) is None and store.exists(connection, reference.name):
        raise BermError(Code.PERMISSION_DENIED, f"template {reference.name!r} belongs to another team")
    return _find(connection, team_id, reference)


def _summary(connection: Connection, team_id: str, reference: Reference) -> Summary:
    return store.summary(connection, _find(connection, team_id, reference).template_id)


def _builds(
    connection: Connection, team_id: str, reference: Reference, page: paging.Slice
) -> paging.Page[Build]:
    return builds.listing(connection, _find(connection, team_id, reference).template_id, page)


def _build(connection: Connection, team_id: str, reference: Reference, build_id: str) -> Build:
    found = builds.find(connection, _find(connection, team_id, reference).template_id, build_id)
    if found is None:
        raise BermError(Code.NOT_FOUND, f"template {reference.name!r} has no build {build_id!r}")
    return found


def _ready(connection: Connection, team_id: str, text: str) -> Template:
    try:
        reference = Reference.parse(text)
    except BermError:
        raise _no_template(text) from None
    record = _find(connection, team_id, reference)
    template = store.tagged(connection, record.template_id, reference.tag)
    if template is None:
        raise _not_ready(connection, record, reference)
    return template


def _not_ready(connection: Connection, record: Record, reference: Reference) -> BermError:
    tried = builds.listing(connection, record.template_id, paging.Slice(limit=100)).items
    build = next((b for b in tried if reference.tag in b.tags), None)
    if build is None:
        return BermError(
            Code.NOT_FOUND, f"template {record.name!r} has no tag {reference.tag!r}", "leave the tag out"
        )
    if build.status in builds.UNFINISHED:
        return BermError(
            Code.UNAVAILABLE, f"template {record.name!r} is still being made", "try again in a moment"
        )
    return BermError(
        Code.CONFLICT,
        f"template {record.name!r} could not be made: {build.reason}",
        "mend it and build again",
    )


def _no_template(name: str) -> BermError:
    return BermError(Code.NOT_FOUND, f"template {name!r} not found", "GET /templates lists those there are")


def _not_unfinished(build_id: str) -> BermError:
    return BermError(Code.CONFLICT, f"build {build_id!r} is finished, or there is none")


def _begin(
    connection: Connection,
    team_id: str,
    name: str,
    tags: tuple[str, ...],
    resources: Resources,
    *,
    public: bool,
) -> Build:
    moment = now()
    record = store.find_own(connection, team_id, name)
    if record is None:
        record = Record(ids.template_id(), team_id, name, public, moment, moment)
        store.add(connection, record)
    build = Build(ids.build_id(), record.template_id, Status.WAITING, tags, resources, moment, moment)
    builds.add(connection, build)
    return build


def _finish(connection: Connection, build: Build, made: Made) -> Template:
    moment = now()
    if not builds.succeed(connection, build.build_id, made, moment):
        raise _not_unfinished(build.build_id)
    store.point(connection, build, moment)
    return store.made(connection, build.build_id)
