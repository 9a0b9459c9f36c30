"""Which template, and which of its builds, a reference means. Functions of a transaction."""

from sqlalchemy import Connection

from berm.control.references import DEFAULT_TAG, LATEST, Reference
from berm.errors import BermError, Code
from berm.models import Template
from berm.store import builds, paging, tags
from berm.store import templates as store
from berm.store.builds import Build, Status
from berm.store.templates import Record

_RECENT = paging.Slice(limit=100)


def find(connection: Connection, team_id: str, name: str, *, trial: bool = False) -> Record:
    """The template that a team means. Raises BermError NOT_FOUND."""
    record = store.find(connection, team_id, name, trial=trial)
    if record is None:
        raise no_template(name)
    return record


def find_own(connection: Connection, team_id: str, name: str, *, trial: bool = False) -> Record:
    """The template, to change it. Raises BermError NOT_FOUND, PERMISSION_DENIED for another team's."""
    record = find(connection, team_id, name, trial=trial)
    if record.team_id != team_id:
        raise _foreign(name)
    return record


def find_alias(connection: Connection, team_id: str, name: str) -> Record:
    """Raises BermError NOT_FOUND, PERMISSION_DENIED if only other teams have such a template."""
    if store.find(connection, team_id, name) is None and store.exists(connection, name):
        raise _foreign(name)
    return find(connection, team_id, name)


def build(connection: Connection, record: Record, which: str) -> Build:
    """The build of a template with this id, number or tag. Raises BermError NOT_FOUND."""
    found = builds.find(connection, record.template_id, which)
    if found is None and which.isascii() and which.isdecimal() and len(which) < 10:
        found = builds.numbered(connection, record.template_id, int(which))
    if found is None:
        tagged = tagged_as(connection, record, which)
        found = builds.find(connection, record.template_id, tagged[1]) if tagged else None
    if found is None:
        raise BermError(Code.NOT_FOUND, f"template {record.name!r} has no build {which!r}")
    return found


def tagged_as(connection: Connection, record: Record, tag: str) -> tuple[str, str] | None:
    """A tag and the id of its build. Where nobody set `latest`, it is the default tag."""
    for name in (tag, DEFAULT_TAG) if tag == LATEST else (tag,):
        build_id = tags.build_id(connection, record.template_id, name)
        if build_id is not None:
            return name, build_id
    return None


def ready_build(connection: Connection, record: Record, reference: Reference) -> Build:
    """The build to start from.

    Raises BermError NOT_FOUND, UNAVAILABLE while it is being made, CONFLICT if it could not be made.
    """
    if not reference.at:
        tagged = tagged_as(connection, record, reference.tag)
        if tagged is None:
            raise _no_tag(connection, record, reference.tag)
        return build(connection, record, tagged[1])
    found = build(connection, record, reference.at)
    if found.status is not Status.READY or found.trial:
        raise _not_ready(record, found)
    return found


def ready(connection: Connection, team_id: str, text: str) -> Template:
    """The template to start a sandbox from. Raises what `ready_build` raises."""
    try:
        reference = Reference.parse(text)
    except BermError:
        raise no_template(text) from None
    record = find(connection, team_id, reference.name)
    return store.made(connection, ready_build(connection, record, reference).build_id)


def no_template(name: str) -> BermError:
    return BermError(Code.NOT_FOUND, f"template {name!r} not found", "GET /templates lists those there are")


def _foreign(name: str) -> BermError:
    return BermError(Code.PERMISSION_DENIED, f"template {name!r} belongs to another team")


def _no_tag(connection: Connection, record: Record, tag: str) -> BermError:
    names = {tag, DEFAULT_TAG} if tag == LATEST else {tag}
    tried = builds.listing(connection, record.template_id, _RECENT).items
    last = next((b for b in tried if names.intersection(b.tags)), None)
    if last is None or last.status is Status.READY:
        return BermError(Code.NOT_FOUND, f"template {record.name!r} has no tag {tag!r}", "leave the tag out")
    return _not_ready(record, last)


def _not_ready(record: Record, found: Build) -> BermError:
    if found.trial:
        return BermError(Code.NOT_FOUND, f"template {record.name!r} has no build {found.build_id!r}")
    if found.status in builds.UNFINISHED:
        return BermError(
            Code.UNAVAILABLE, f"template {record.name!r} is still being made", "try again in a moment"
        )
    return BermError(
        Code.CONFLICT,
        f"template {record.name!r} could not be made: {found.reason}",
        "mend it and build again",
    )
