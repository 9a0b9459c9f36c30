"""What is recorded of a build from when it is asked for to its end. Functions of a transaction."""

from dataclasses import dataclass

from sqlalchemy import Connection

from berm import ids
from berm.control import lookup, tags
from berm.control.references import Reference
from berm.control.states import now
from berm.errors import BermError, Code
from berm.models import Resources, Template
from berm.store import builds
from berm.store import templates as store
from berm.store.builds import Build, Made, Status
from berm.store.templates import Record


@dataclass(frozen=True, slots=True)
class NewBuild:
    """A build that is asked for; `known_as` has the template's name with each of its tags."""

    known_as: list[Reference]
    resources: Resources
    public: bool
    commit: str
    actor: str
    template_id: str = ""
    """Of the template, should it be the first build; empty leaves that open."""


def begin(connection: Connection, team_id: str, wanted: NewBuild, *, snapshot: bool = False) -> Build:
    """Register a build, and its template if it is the first. BermError CONFLICT for a taken version."""
    record = _template(connection, team_id, wanted, snapshot=snapshot)
    names = tuple(dict.fromkeys(reference.tag for reference in wanted.known_as))
    tags.check_versions(connection, record, names)
    moment = now()
    build = Build(
        ids.build_id(),
        record.template_id,
        Status.WAITING,
        names,
        wanted.resources,
        moment,
        moment,
        number=store.next_number(connection, record.template_id),
        commit=wanted.commit,
        actor=wanted.actor,
    )
    builds.add(connection, build)
    return build


def check(connection: Connection, team_id: str, known_as: list[Reference]) -> None:
    """Raises BermError CONFLICT if `begin` would; changes nothing."""
    record = store.find_own(connection, team_id, known_as[0].name)
    if record is not None:
        tags.check_versions(connection, record, [reference.tag for reference in known_as])


def start(connection: Connection, build_id: str, *, trial: bool) -> None:
    """Raises BermError CONFLICT if the build is not waiting."""
    started = builds.start(connection, build_id, now())
    if started is None:
        raise not_unfinished(build_id)
    if trial:
        builds.make_trial(connection, build_id)
        store.give_back(connection, started.template_id, started.number)


def finish(connection: Connection, build_id: str, made: Made) -> tuple[Build, Template]:
    """Record what a build made and let it have its tags. Raises BermError CONFLICT; then nothing changed."""
    moment = now()
    record = store.of_build(connection, build_id)
    if record is None:
        raise not_unfinished(build_id)
    store.lock(connection, record.template_id)
    build = builds.succeed(connection, build_id, made, moment)
    if build is None:
        raise not_unfinished(build_id)
    if not build.trial:
        tags.take(connection, record, build)
    return build, store.made(connection, build_id)


def delete(connection: Connection, team_id: str, name: str) -> tuple[str, ...]:
    """Delete a template with all its builds; the ids of those that go on."""
    record = lookup.find_own(connection, team_id, name)
    store.lock(connection, record.template_id)
    going_on = builds.unfinished(connection, record.template_id)
    store.remove(connection, record.template_id)
    return going_on


def not_unfinished(build_id: str) -> BermError:
    return BermError(Code.CONFLICT, f"build {build_id!r} is finished, or there is none")


def check_kind(record: Record | None, name: str, *, snapshot: bool) -> None:
    """Raises BermError CONFLICT for a name of snapshots where builds are wanted, or the reverse."""
    if record and record.snapshot is not snapshot:
        kind = "a snapshot" if record.snapshot else "a template's that is no snapshot"
        hint = "choose another name, or leave it out" if snapshot else "choose another name"
        raise BermError(Code.CONFLICT, f"name {name!r} is {kind}", hint)


def _template(connection: Connection, team_id: str, wanted: NewBuild, *, snapshot: bool) -> Record:
    name = wanted.known_as[0].name
    record = store.find_own(connection, team_id, name)
    if record is None:
        moment = now()
        template_id = wanted.template_id or ids.template_id()
        record = Record(template_id, team_id, name, wanted.public, moment, moment, snapshot=snapshot)
        store.add(connection, record)
    check_kind(record, name, snapshot=snapshot)
    store.lock(connection, record.template_id)
    return record
