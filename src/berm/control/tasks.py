"""Work that outlives whoever asked for it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

RETRY_AFTER: Final = 5.0
"""Seconds until something that failed is tried again."""

log = logging.getLogger(__name__)


class Tasks:
    """Keeps tasks from being collected while they run, and ends them together."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, T]) -> None:
        """Do `work` in the background; nobody waits for it, so a failure is logged."""
        self.begin(work).add_done_callback(_report)

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start `work` for callers that wait for it behind `asyncio.shield`."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` to its end, even if the caller is cancelled."""
        return await asyncio.shield(self.begin(work))

    async def drain(self) -> None:
        """Wait until nothing is running."""
        while self._running:
            await asyncio.wait(self._running)

    async def cancel(self) -> None:
        """Stop what is running."""
        for task in self._running:
            task.cancel()
        await self.drain()


def _report(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a background task failed", exc_info=error)


async def insist(attempt: Callable[[], Awaitable[T]], what: str) -> T:
    """Try until it succeeds: were this to give up, sandboxes would outlive their time."""
    while True:
        try:
            return await attempt()
        except Exception:
            log.exception("could not %s, trying again in %g s", what, RETRY_AFTER)
            await asyncio.sleep(RETRY_AFTER)
