"""What builds share: the node, the cache of layers by key, and which layers are in use."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from berm.control.layers import CachedLayer, Layers
from berm.control.locks import Locks
from berm.models import Layer
from berm.node.interface import Node

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


class Hold:
    """Layers that somebody uses and no record names yet; they are not collected."""

    def __init__(self, held: Counter[str]) -> None:
        self._held = held
        self._own: Counter[str] = Counter()

    def add(self, names: Collection[str]) -> None:
        self._own.update(names)
        self._held.update(names)

    def release(self) -> None:
        self._held.subtract(self._own)
        self._own.clear()


class Workshop:
    """A layer is made by one build at a time; a second that wants it waits and takes it."""

    def __init__(self, node: Node, cache: Layers) -> None:
        self.node = node
        self._cache = cache
        self._locks = Locks()
        self._held: Counter[str] = Counter()
        self._before: dict[str, Collection[str]] = {}
        self._shelf = asyncio.Lock()

    async def start(self, record: Path) -> None:
        """Trust no layer that may not have reached the disk when the machine went down.

        Layers are written out when a build is finished; `record` is a file that remembers the machine's boot
        (random(4): boot_id).
        """
        if _is_another_boot(record):
            await self._cache.forget_unfinished()
        _remember_boot(record)

    @contextmanager
    def hold(self) -> Iterator[Hold]:
        hold = Hold(self._held)
        try:
            yield hold
        finally:
            hold.release()

    @asynccontextmanager
    async def making(self, key: str) -> AsyncIterator[None]:
        """Be the only one who makes the layer of a key; hold it before the block ends, or it is collected."""
        async with self._locks.of(key), self._unheld(key):
            yield

    @asynccontextmanager
    async def alone(self, names: Collection[str]) -> AsyncIterator[None]:
        """Be the only one who works in these kept directories."""
        async with AsyncExitStack() as held:
            # All take them in the same order, so nobody waits for somebody who waits for him.
            for name in sorted(set(names)):
                await held.enter_async_context(self._locks.of(f"directory {name}"))
            yield

    @asynccontextmanager
    async def _unheld(self, key: str) -> AsyncIterator[None]:
        """A new layer has no name to hold until the node has finished it: what is new since is kept."""
        self._before[key] = self.node.layers()
        try:
            yield
        finally:
            del self._before[key]

    async def take(self, keys: Collection[str], hold: Hold) -> dict[str, CachedLayer]:
        """The layers of those of the keys that are in the cache and on this machine, now in use."""
        async with self._shelf:
            found = await self.look(keys)
            hold.add([kept.layer.name for kept in found.values() if kept.layer.name])
        if found:
            await self._cache.touch(found)
        return found

    async def look(self, keys: Collection[str]) -> dict[str, CachedLayer]:
        """Those of the keys that are in the cache; changes nothing."""
        found = await self._cache.find(keys)
        there = self.node.has_layer
        return {key: kept for key, kept in found.items() if not kept.layer.name or there(kept.layer.name)}

    async def keep(self, key: str, team_id: str, layer: Layer, seconds: float, hold: Hold) -> None:
        """Put a new layer into the cache."""
        hold.add([layer.name] if layer.name else [])
        await self._cache.record(key, team_id, layer, round(seconds * 1000))

    async def remember(self, team_id: str, name: str) -> None:
        """Note that a team uses a layer that no step made, so that it is kept as long as those of steps."""
        key = _base_key(team_id, name)
        if await self._cache.find([key]):
            await self._cache.touch([key])
        else:
            await self._cache.record(key, team_id, Layer(name, 0), 0)

    async def remembers(self, team_id: str, name: str) -> bool:
        """Whether the layer is there and has been remembered for this team."""
        return self.node.has_layer(name) and bool(await self._cache.find([_base_key(team_id, name)]))

    async def collect(
        self, unused: Callable[[Collection[str]], Awaitable[Collection[str]]]
    ) -> Collection[str]:
        """Remove the layers that are in nobody's use, of those that `unused` names; returns them."""
        async with self._shelf:
            # Who lets go of a layer meanwhile has just recorded it.
            free = frozenset(self.node.layers()).intersection(*self._before.values()) - self._in_use()
            names = frozenset(await unused(free)) - self._in_use()
            await self._cache.forget(names)
            await self.node.drop_layers(names)
        return names

    def _in_use(self) -> set[str]:
        return {name for name, users in self._held.items() if users > 0}

    async def drop_old_files(self, days: float) -> None:
        """Remove uploaded files that nobody has asked for that long."""
        oldest = time.time() - days * 86400
        await self.node.drop_files([name for name, used in self.node.files().items() if used < oldest])


def _base_key(team_id: str, name: str) -> str:
    return f"base {team_id} {name}"


def _is_another_boot(record: Path) -> bool:
    return record.exists() and record.read_text() != _BOOT.read_text()


def _remember_boot(record: Path) -> None:
    record.write_text(_BOOT.read_text())
