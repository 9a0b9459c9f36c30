"""Who waits for news of something, by its id, and those who bring it."""

import asyncio
from collections import defaultdict


class News:
    """A wait that begins before the news comes ends with it; nobody is told what the news is."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)

    def tell(self, name: str) -> None:
        for waiting in self._waiting.pop(name, ()):
            if not waiting.done():
                waiting.set_result(None)

    def next(self, name: str) -> asyncio.Future[None]:
        """Done at the next `tell`. Cancel it when nobody waits any more."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[name].add(waiting)
        waiting.add_done_callback(lambda _: self._leave(name, waiting))
        return waiting

    def _leave(self, name: str, waiting: asyncio.Future[None]) -> None:
        if name in self._waiting:
            self._waiting[name].discard(waiting)
            if not self._waiting[name]:
                del self._waiting[name]
