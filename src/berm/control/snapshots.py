"""Snapshots and forks: what a sandbox has written so far, as a template or as the beginning of others.

Files only: processes stay where they are. A sandbox that begins from a snapshot runs the start command of the
template that the first one was made from.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import Connection

from berm import ids
from berm.control import lookup, recording
from berm.control.creation import Copies, Creator
from berm.control.pauses import Pauses
from berm.control.recording import NewBuild
from berm.control.references import DEFAULT_TAG, Reference
from berm.control.sandboxes import Sandboxes
from berm.control.templates import Templates
from berm.control.workshop import Workshop
from berm.errors import BermError, Code
from berm.models import Layer, Principal, Sandbox
from berm.store import paging
from berm.store import snapshots as store
from berm.store import templates as template_store
from berm.store.builds import Made
from berm.store.database import Database
from berm.store.snapshots import Snapshot, Wanted
from berm.templates.plan import Settings

log = logging.getLogger(__name__)


class Snapshots:
    """A team sees its own snapshots only."""

    def __init__(
        self,
        database: Database,
        workshop: Workshop,
        sandboxes: Sandboxes,
        templates: Templates,
        *,
        creator: Creator,
        pauses: Pauses,
    ) -> None:
        self._database = database
        self._workshop = workshop
        self._sandboxes = sandboxes
        self._templates = templates
        self._creator = creator
        self._pauses = pauses

    async def create(self, who: Principal, sandbox_id: str, name: str | None = None) -> Snapshot:
        """Keep what a sandbox has written as a template; it goes on, stopped for a moment.

        `name` may be name:tag; without one the template is known by its id. Raises BermError NOT_FOUND,
        NO_SPACE, INVALID_ARGUMENT for a name that cannot be one, CONFLICT for one of a template that is no
        snapshot.
        """
        template_id = ids.template_id()
        known_as = Reference.parse_all(name or template_id, ())
        await self._database.run(_check, who.team_id, known_as[0].name)
        async with self._taken(who, sandbox_id) as (sandbox, layer):
            await self._workshop.node.settle()
            wanted = NewBuild(known_as, sandbox.resources, False, "", "", "" if name else template_id)
            made = _made(sandbox, layer)
            snapshot = await self._database.run(_record, who.team_id, wanted, made)
            self._templates.forget()
        return snapshot

    async def delete(self, who: Principal, reference: str) -> bool:
        """Delete one snapshot of several of a template, named by a tag; False if that is not what it is.

        The template goes with its last. Sandboxes that began from it live on.
        """
        deleted = await self._database.run(_delete, who.team_id, reference)
        if deleted:
            self._templates.forget()
        return deleted

    async def fork(
        self, who: Principal, sandbox_id: str, seconds: int | None, count: int
    ) -> list[Sandbox | BermError]:
        """Start sandboxes with what one has written, all from the same moment; each may fail for itself.

        Raises BermError NOT_FOUND, NO_SPACE, INVALID_ARGUMENT for a timeout out of range.
        """
        life = self._creator.lifetime(who, seconds)
        async with self._taken(who, sandbox_id) as (sandbox, layer):
            copies = Copies(sandbox, layer.name, life)
            forks = [self._creator.copy(who, copies) for _ in range(count)]
            results = await asyncio.gather(*forks, return_exceptions=True)
            await self._workshop.node.drop_layers([layer.name])
        return [_outcome(result) for result in results]

    async def list(self, who: Principal, wanted: Wanted, page: paging.Slice) -> paging.Page[Snapshot]:
        """The snapshots of a team, newest first."""
        return await self._database.run(store.listing, who.team_id, wanted, page)

    @asynccontextmanager
    async def _taken(self, who: Principal, sandbox_id: str) -> AsyncIterator[tuple[Sandbox, Layer]]:
        """What a sandbox has written, in a layer that nobody collects until the block ends."""
        with self._workshop.hold() as hold:
            async with self._pauses.alone(sandbox_id), self._workshop.making(f"snapshot {sandbox_id}"):
                sandbox = await self._sandboxes.record(who, sandbox_id)
                layer = await self._workshop.node.snapshot(sandbox_id)
                hold.add([layer.name])
            yield sandbox, layer


def _made(sandbox: Sandbox, layer: Layer) -> Made:
    boot = sandbox.boot
    settings = Settings(
        env=boot.inherited,
        user=boot.user,
        workdir=boot.workdir,
        start_cmd=boot.start_cmd,
        ready_cmd=boot.ready_cmd,
    )
    layers = (*sandbox.layers, layer.name)
    return Made(layers, settings, size=layer.size, snapshot_of=sandbox.sandbox_id)


def _check(connection: Connection, team_id: str, name: str) -> None:
    recording.check_kind(template_store.find_own(connection, team_id, name), name, snapshot=True)


def _record(connection: Connection, team_id: str, wanted: NewBuild, made: Made) -> Snapshot:
    build = recording.begin(connection, team_id, wanted, snapshot=True)
    _, template = recording.finish(connection, build.build_id, made)
    return Snapshot(template.template_id, template.name, wanted.known_as[0].tag, template.created_at)


def _delete(connection: Connection, team_id: str, text: str) -> bool:
    reference = Reference.parse(text)
    record = lookup.find_own(connection, team_id, reference.name)
    if not record.snapshot or reference.at or (reference.tag == DEFAULT_TAG and ":" not in text):
        return False
    template_store.lock(connection, record.template_id)
    tagged = lookup.tagged_as(connection, record, reference.tag)
    if tagged is None:
        raise lookup.no_template(text)
    if not store.drop_build(connection, record.template_id, tagged[0]):
        recording.delete(connection, team_id, record.template_id)
    return True


def _outcome(result: Sandbox | BaseException) -> Sandbox | BermError:
    """What came of one fork: the others are told of whatever became of it."""
    if isinstance(result, Sandbox | BermError):
        return result
    log.error("a fork failed", exc_info=result)
    return BermError(Code.INTERNAL, f"unexpected {type(result).__name__} (see the server's log)")
