"""Volumes: whose they are, what they are called, which sandboxes have them mounted."""

import asyncio
import logging
import posixpath
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from berm import ids
from berm.control.states import now
from berm.control.tasks import Tasks
from berm.errors import BermError, Code
from berm.models import Mount, Principal, Volume, VolumeMount
from berm.node.interface import Node, VolumeContent
from berm.store import volumes as store
from berm.store.database import Database

_LONGEST_ECHO = 64
log = logging.getLogger(__name__)


class Volumes:
    """A team sees its own volumes only: those of others are NOT_FOUND."""

    def __init__(self, database: Database, node: Node) -> None:
        self._database = database
        self._volumes = node.volumes
        self._tasks = Tasks()
        self._starting: Counter[str] = Counter()
        """Volumes that sandboxes are about to have, which are not on record yet."""
        self._lock = asyncio.Lock()
        """Held while it is decided whether a volume is used or may go."""

    async def start(self) -> None:
        """Drop what no record knows if it is empty: a server ended while it made it.

        What has content is left alone, as the database may be the wrong one.
        """
        for volume_id in set(self._volumes.names()) - await self._database.run(store.ids):
            if await self._is_empty(volume_id):
                await self._volumes.drop(volume_id)
            else:
                log.warning("volume %s is not in the database; it stays as it is", volume_id)

    async def _is_empty(self, volume_id: str) -> bool:
        try:
            return not await self._volumes.content(volume_id).list("/", 1)
        except BermError:
            return False

    async def close(self) -> None:
        """Let what has been begun come to its end."""
        await self._tasks.drain()

    async def create(self, who: Principal, name: str) -> Volume:
        """An empty volume. Raises BermError CONFLICT if the team has one of that name, NO_SPACE."""
        return await self._tasks.finish(self._create(who, name))

    async def _create(self, who: Principal, name: str) -> Volume:
        volume = Volume(ids.volume_id(), who.team_id, name, ids.volume_token(), now())
        await self._volumes.make(volume.volume_id)
        added = False
        try:
            added = await self._database.run(store.add, volume)
        finally:
            if not added:
                await self._volumes.drop(volume.volume_id)
        if not added:
            raise BermError(
                Code.CONFLICT, f"there is a volume {name!r} already", "take another name, or use that one"
            )
        return volume

    async def list(self, who: Principal) -> list[Volume]:
        """Oldest first."""
        return await self._database.run(store.listing, who.team_id)

    async def get(self, who: Principal, volume_id: str) -> Volume:
        found = await self._database.run(store.find, who.team_id, volume_id)
        if found is None:
            raise _no_volume(volume_id)
        return found

    async def delete(self, who: Principal, volume_id: str) -> None:
        """Delete a volume and all that is in it; of two callers at once one gets NOT_FOUND.

        Raises BermError NOT_FOUND, CONFLICT while it is mounted.
        """
        await self._tasks.finish(self._delete(await self.get(who, volume_id)))

    async def _delete(self, volume: Volume) -> None:
        async with self._lock:
            if self._starting[volume.volume_id]:
                raise _in_use(volume, "a sandbox that starts")
            users = await self._database.run(store.remove, volume, now())
        if users is None:
            raise _no_volume(volume.volume_id)
        if users:
            others = f" and {len(users) - 1} others" if users[1:] else ""
            raise _in_use(volume, f"sandbox {users[0]}{others}")
        await self._volumes.drop(volume.volume_id)

    async def open(self, volume_id: str, token: str) -> VolumeContent:
        """What is in a volume, for who shows its token. Raises BermError UNAUTHENTICATED, NOT_FOUND."""
        own = await self._database.run(store.token, volume_id)
        if own is None:
            raise _no_volume(volume_id)
        if not ids.same_secret(token, own):
            raise BermError(
                Code.UNAUTHENTICATED,
                f"the token is not that of volume {volume_id}",
                "GET /volumes/{volumeID} answers it",
            )
        return self._volumes.content(volume_id)

    @asynccontextmanager
    async def mounted(self, team_id: str, wanted: Sequence[VolumeMount]) -> AsyncIterator[tuple[Mount, ...]]:
        """What a sandbox is to have mounted, which is not deleted before the block ends.

        Those on paths further up come first. Raises BermError NOT_FOUND for a volume, INVALID_ARGUMENT for a
        path that comes twice.
        """
        if not wanted:
            yield ()
            return
        places = _placed(wanted)
        async with self._lock:
            found = await self._database.run(store.named, team_id, {mount.name for mount in wanted})
            mounts = tuple(
                Mount(path, directory=f"volumes/{_named(found, name).volume_id}")
                for path, name in sorted(places.items())
            )
            used = [volume.volume_id for volume in found.values()]
            self._starting.update(used)
        try:
            yield mounts
        finally:
            self._starting.subtract(used)


def _placed(wanted: Sequence[VolumeMount]) -> dict[str, str]:
    """Names of volumes by the paths that they are mounted on."""
    places: dict[str, str] = {}
    for mount in wanted:
        path = _plain(mount.path)
        if path in places:
            raise BermError(
                Code.INVALID_ARGUMENT, f"volumeMounts has {path!r} twice", "mount one volume there"
            )
        places[path] = mount.name
    return places


def _plain(path: str) -> str:
    """A path without doubled slashes and `.`. What is no absolute path, or has `..`, the node refuses."""
    if not path.startswith("/") or ".." in path:
        return path
    return "/" + posixpath.normpath(path).lstrip("/")


def _named(found: dict[str, Volume], name: str) -> Volume:
    if name not in found:
        raise BermError(
            Code.NOT_FOUND, f"volume {name[:_LONGEST_ECHO]!r} not found", "GET /volumes lists the names"
        )
    return found[name]


def _in_use(volume: Volume, where: str) -> BermError:
    return BermError(
        Code.CONFLICT,
        f"volume {volume.name!r} is mounted in {where}",
        "a sandbox has to end before its volumes",
    )


def _no_volume(volume_id: str) -> BermError:
    return BermError(
        Code.NOT_FOUND, f"volume {volume_id[:_LONGEST_ECHO]!r} not found", "GET /volumes lists the ids"
    )
