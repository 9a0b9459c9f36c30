"""Tags: what may be pointed where, and the way back. Functions of a transaction.

A tag moves freely, but for a semantic version: once it has stood for a build it never stands for another,
not even after it was removed. A build that ends takes a tag only if no later build ever had it, so that one
that began earlier and ends later moves nothing back.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from berm.control import lookup
from berm.control.references import LATEST, Reference, bare_tags, plain_name
from berm.control.states import now
from berm.errors import BermError, Code
from berm.store import builds
from berm.store import tags as store
from berm.store import templates as template_store
from berm.store.builds import Build, Status
from berm.store.tags import Move, Tag
from berm.store.templates import Record
from berm.templates.versions import MOVING, is_semver


@dataclass(frozen=True, slots=True)
class Assigned:
    tags: tuple[str, ...]
    build_id: str
    number: int


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The tags that went from one build to another; equal numbers mean that nothing moved."""

    tags: tuple[str, ...]
    from_number: int
    to_number: int


def listing(connection: Connection, team_id: str, reference: str) -> list[Tag]:
    """Raises BermError NOT_FOUND."""
    return store.listing(connection, lookup.find(connection, team_id, plain_name(reference)).template_id)


def assign(connection: Connection, team_id: str, target: str, tags: Iterable[str], actor: str) -> Assigned:
    """Point tags at the build that `target` means.

    Raises BermError NOT_FOUND, PERMISSION_DENIED, INVALID_ARGUMENT, CONFLICT for a version that stands for
    another build.
    """
    reference, names = Reference.parse(target), bare_tags(tags)
    record = _locked(connection, team_id, reference.name)
    build = lookup.ready_build(connection, record, reference)
    check_versions(connection, record, names, build.build_id)
    _point(connection, build, names, actor)
    return Assigned(names, build.build_id, build.number)


def remove(connection: Connection, team_id: str, name: str, tags: Iterable[str], actor: str) -> None:
    """Raises BermError NOT_FOUND if one of the tags is not there, and then removes none."""
    names = bare_tags(tags)
    record = _locked(connection, team_id, plain_name(name))
    there = {tag.tag for tag in store.listing(connection, record.template_id)}
    missing = [tag for tag in names if tag not in there]
    if missing:
        raise _no_tag(record, missing[0])
    moment = now()
    store.remove(connection, record.template_id, names, moment, actor)
    template_store.touch(connection, record.template_id, moment)


def rollback(
    connection: Connection, team_id: str, name: str, tag: str, to: int | None, *, actor: str
) -> RolledBack:
    """Point a tag at the build numbered `to`, or else at the one that it stood for before.

    `default` and `latest` go together while they stand for the same build. Raises BermError NOT_FOUND,
    PERMISSION_DENIED, CONFLICT for a version, for a build that is not ready, or if there is no way back.
    """
    record = _locked(connection, team_id, plain_name(name))
    tagged = lookup.tagged_as(connection, record, tag or LATEST)
    if tagged is None:
        raise _no_tag(record, tag)
    if is_semver(tag):
        raise BermError(
            Code.CONFLICT, f"tag {tag!r} is a version, which never moves", "roll back another tag"
        )
    current = lookup.build(connection, record, tagged[1])
    target = _before(connection, current, tagged[0]) if to is None else _numbered(connection, record, to)
    names = _together(connection, current, tagged[0])
    _point(connection, target, names, actor)
    return RolledBack(names, current.number, target.number)


def take(connection: Connection, record: Record, build: Build) -> None:
    """Point the tags of a build that has just ended at it. Raises BermError CONFLICT for a version."""
    check_versions(connection, record, build.tags, build.build_id)
    names = [t for t in build.tags if store.highest(connection, build.template_id, t) <= build.number]
    _point(connection, build, names, build.actor)


def check_versions(
    connection: Connection, record: Record, names: Collection[str], build_id: str = ""
) -> None:
    """Raises BermError CONFLICT for a version that stands, or stood, for another build."""
    for tag in filter(is_semver, names):
        for move in store.moves(connection, record.template_id, tag):
            if move.build_id not in (None, build_id):
                raise BermError(
                    Code.CONFLICT,
                    f"tag {tag!r} of template {record.name!r} belongs to build {move.number}",
                    "a version never moves: choose a new one",
                )


def way_back(moves: Iterable[Move]) -> list[str]:
    """The builds that a tag went through to where it is, without the detours that were taken back."""
    path: list[str] = []
    for move in moves:
        if move.build_id in path:
            del path[path.index(move.build_id) + 1 :]
        elif move.build_id is not None:
            path.append(move.build_id)
    return path


def _locked(connection: Connection, team_id: str, name: str) -> Record:
    record = lookup.find_own(connection, team_id, name)
    template_store.lock(connection, record.template_id)
    return record


def _point(connection: Connection, build: Build, names: Collection[str], actor: str) -> None:
    """What stands for the build already is left alone."""
    there = {tag.tag: tag.build_id for tag in store.listing(connection, build.template_id)}
    moving = [tag for tag in names if there.get(tag) != build.build_id]
    moment = now()
    store.point(connection, build, moving, moment, actor)
    template_store.touch(connection, build.template_id, moment)


def _together(connection: Connection, current: Build, tag: str) -> tuple[str, ...]:
    if tag not in MOVING:
        return (tag,)
    found = store.listing(connection, current.template_id)
    return tuple(t.tag for t in found if t.tag in MOVING and t.build_id == current.build_id)


def before(connection: Connection, template_id: str, moves: Sequence[Move]) -> Build | None:
    """The build that a tag would go back to, of those that are still there."""
    for build_id in reversed(way_back(moves)[:-1]):
        found = builds.find(connection, template_id, build_id)
        if found is not None and found.status is Status.READY:
            return found
    return None


def _before(connection: Connection, current: Build, tag: str) -> Build:
    moves = store.moves(connection, current.template_id, tag)
    found = before(connection, current.template_id, moves)
    if found is None:
        raise BermError(
            Code.CONFLICT,
            f"tag {tag!r} stood for no build before build {current.number} that is still there",
            "name the build to go to",
        )
    return found


def _numbered(connection: Connection, record: Record, number: int) -> Build:
    return lookup.ready_build(connection, record, Reference(record.name, "", str(number)))


def _no_tag(record: Record, tag: str) -> BermError:
    return BermError(Code.NOT_FOUND, f"template {record.name!r} has no tag {tag!r}")
