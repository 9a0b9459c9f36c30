"""Locks by name: of one sandbox, one layer, one directory."""

import asyncio
from weakref import WeakValueDictionary


class Locks:
    """There is a lock for each name that somebody uses; of the others nothing is kept."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, name: str) -> asyncio.Lock:
        """To be entered or held by the caller: it is forgotten with its last user."""
        return self._locks.setdefault(name, asyncio.Lock())
