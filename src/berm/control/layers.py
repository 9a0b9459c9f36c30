"""The cache of layers: which layer a build step need not make again, and which layers are to be kept."""

from collections.abc import Collection, Mapping
from datetime import timedelta

from berm.control.states import now
from berm.models import Layer
from berm.store import layers as store
from berm.store.database import Database
from berm.store.layers import CachedLayer

__all__ = ["CachedLayer", "Layers"]


class Layers:
    """Keys are those of `berm.templates.keys`, which keep teams apart. The node says what is there."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, keys: Collection[str]) -> Mapping[str, CachedLayer]:
        """Those of the keys that stand for a layer; changes nothing."""
        return await self._database.run(store.find, keys)

    async def touch(self, keys: Collection[str]) -> None:
        """Note that the layers of these keys were used."""
        await self._database.run(store.touch, keys, now())

    async def record(self, key: str, team_id: str, layer: Layer, duration_ms: int) -> None:
        """Let a key stand for a new layer, and no longer for another. A layer without a name is empty."""
        await self._database.run(store.record, key, team_id, CachedLayer(layer, duration_ms, now()))

    async def forget(self, names: Collection[str]) -> None:
        """Let no key stand for these layers."""
        await self._database.run(store.forget, names)

    async def forget_unfinished(self) -> None:
        """Let keys stand only for layers of builds that are ready."""
        await self._database.run(store.forget_unfinished)

    async def unused(self, names: Collection[str], cache_days: int) -> frozenset[str]:
        """Those of the layers that no recorded build, no live sandbox and no key used lately refers to.

        A layer that a build has made or found just now is not in any record yet: who removes what this
        names must keep it from that.
        """
        oldest = now() - timedelta(days=cache_days)
        return frozenset(names) - await self._database.run(store.referred, oldest)
