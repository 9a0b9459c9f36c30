"""Makes what runs agree with what is recorded: expiry, adoption after a restart, ends seen by the node."""

import asyncio
import logging
from contextlib import suppress
from datetime import datetime
from functools import partial

from berm.control.ingress import Ingresses
from berm.control.pauses import Pauses
from berm.control.states import now, seconds_until
from berm.control.tasks import Tasks, insist
from berm.errors import BermError, Code
from berm.node.interface import Node
from berm.store import builds
from berm.store import sandboxes as store
from berm.store.database import Database

log = logging.getLogger(__name__)


class Reconciler:
    """The record decides: a sandbox that is not live in it is killed, one that has died is ended in it."""

    def __init__(self, database: Database, node: Node, pauses: Pauses, ingresses: Ingresses) -> None:
        self._database = database
        self._node = node
        self._pauses = pauses
        self._ingresses = ingresses
        self._pausing: set[str] = set()
        self._tasks = Tasks()
        self._sooner = asyncio.Event()
        self._next_end: datetime | None = None

    async def start(self) -> None:
        """Agree with what the node runs, then keep agreeing in the background."""
        self._tasks.spawn(self._watch())
        await self._adopt()
        self._tasks.spawn(self._expire())

    async def close(self) -> None:
        """Stop; sandboxes live on."""
        await self._tasks.cancel()

    def expect(self, end_at: datetime) -> None:
        """Tell that a sandbox now ends at `end_at`."""
        if self._next_end is None or end_at < self._next_end:
            self._sooner.set()

    def put_down(self, sandbox_id: str) -> None:
        """Kill a sandbox that is over in the record, trying until it is gone."""
        self._tasks.spawn(insist(partial(self._node.kill, sandbox_id), f"kill {sandbox_id}"))

    async def _adopt(self) -> None:
        running, paused = tuple(self._node.running()), dict(self._node.paused())
        strays = await self._database.run(store.adopt, running, paused, now())
        for sandbox_id in strays.over:
            log.warning("%s is there but is over: killing it", sandbox_id)
            self.put_down(sandbox_id)
        for sandbox_id in strays.unknown:
            log.error(
                "the paused sandbox %s is on no record and stays: is it the right database?", sandbox_id
            )
        await self._database.run(builds.fail_unfinished, "the server stopped during the build", now())

    async def _watch(self) -> None:
        async for sandbox_id in self._node.ended():
            await insist(partial(self._end, sandbox_id), f"record the end of {sandbox_id}")

    async def _end(self, sandbox_id: str) -> None:
        await self._database.run(store.end, sandbox_id, now())
        self._pauses.forget(sandbox_id)
        self._ingresses.forget(sandbox_id)

    async def _expire(self) -> None:
        while True:
            await insist(self._end_expired, "end expired sandboxes")
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds_until(self._next_end, now())):
                    await self._sooner.wait()

    async def _end_expired(self) -> None:
        self._sooner.clear()
        # Until the answer is here every new end counts as sooner, as it may have come too late for it.
        self._next_end = None
        expired = await self._database.run(store.expire, now())
        self._next_end = expired.next_end
        for sandbox_id in expired.ended:
            self._ingresses.forget(sandbox_id)
            self.put_down(sandbox_id)
        for sandbox_id in set(expired.to_pause) - self._pausing:
            self._tasks.spawn(self._pause(sandbox_id))

    async def _pause(self, sandbox_id: str) -> None:
        self._pausing.add(sandbox_id)
        try:
            await insist(partial(self._pause_if_there, sandbox_id), f"pause {sandbox_id}")
        finally:
            self._pausing.discard(sandbox_id)

    async def _pause_if_there(self, sandbox_id: str) -> None:
        try:
            await self._pauses.expire(sandbox_id)
        except BermError as error:
            if error.code is not Code.NOT_FOUND:
                raise
