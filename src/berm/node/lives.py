"""The sandboxes of this machine: children of the launcher, each followed by a pidfd of its process 1."""

import asyncio
import contextlib
import errno
import logging
import os
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from berm.config import Config
from berm.errors import BermError, Code
from berm.launcher.client import LauncherClient, LauncherGoneError
from berm.models import Paused, Running, SandboxSpec
from berm.node import agentclient, daemon, layers, logs, uploads, usage, written
from berm.node.egress.doors import Doors
from berm.node.storage import Storage

_REFUSALS: Final = {errno.ESTALE: Code.CONFLICT, errno.ESRCH: Code.NOT_FOUND}

Watchers = set[asyncio.Queue[str]]

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Life:
    """A running sandbox and what is needed to follow and end it."""

    running: Running
    process: int
    """pidfd of its process 1."""
    over: asyncio.Future[None]
    """Done when the sandbox has ended and all it held is free."""
    spec: SandboxSpec | None = None
    """None of a sandbox that was adopted."""
    begun: written.Marks | None = None
    """The marks of what it had written before its first command; nothing of an adopted one is known."""
    meter: usage.Meter | None = None
    """Found when it is first asked what it uses."""
    keep: bool = False
    """Whether its files stay when it ends, for `commit`."""
    ending: bool = False
    """Whether it is being ended: then it must not be stopped, as it would not die."""
    for_good: bool = False
    """Whether nothing of it stays when it ends, although it is paused."""


class Lives(Storage):
    """Knows which sandboxes run and which are paused, and what becomes of them. See `Node`."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._agents: agentclient.Agents | None = None
        self._doors = Doors()
        self._lives: dict[str, Life] = {}
        self._running: dict[str, Running] = {}
        self._paused: dict[str, Paused] = {}
        self._ended: Watchers = set()
        self._departed: Watchers = set()
        self._creating: dict[str, asyncio.Future[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._log_ends = logs.Ends()
        self._client: LauncherClient | None = None
        self._connecting = asyncio.Lock()
        self._closed = False

    async def start(self) -> None:
        self._doors.start(self._config.authority_file)
        client = await self._launcher()
        if self._agents is None:
            self._agents = agentclient.Agents()
            await layers.sweep(self._pool)
            await uploads.sweep(self._pool)
            await self.volumes.sweep()
        for sandbox_id in set(await client.pages("list", "sandboxes")) - self._creating.keys():
            try:
                await (self._look_again if sandbox_id in self._lives else self._adopt)(client, sandbox_id)
            except LauncherGoneError:
                raise
            except OSError as failure:
                log.error("sandbox %s cannot be taken over: %s", sandbox_id, failure)
        for sandbox_id, generation in (await client.pages("shelved", "shelved")).items():
            if sandbox_id not in self._lives:
                self._paused[sandbox_id] = Paused(generation, has_processes=False)

    async def _look_again(self, client: LauncherClient, sandbox_id: str) -> None:
        """A launcher that ended may have let a paused sandbox go on, and never have said so."""
        if sandbox_id not in self._paused:
            return
        reply, fds = await client.call("adopt", sandbox_id=sandbox_id)
        for fd in fds:
            os.close(fd)
        life = self._lives.get(sandbox_id)
        if fds and life and reply["generation"] is None:
            self._paused.pop(sandbox_id, None)
            self._running[sandbox_id] = life.running

    async def _adopt(self, client: LauncherClient, sandbox_id: str, *, for_good: bool = False) -> Life | None:
        """Follow a sandbox that nobody follows; if it has no processes, free what need not stay of it."""
        reply, fds = await client.call("adopt", sandbox_id=sandbox_id)
        if fds:
            generation = reply.pop("generation")
            life = self._follow(Running(sandbox_id, **reply), fds[0], None)
            if generation is not None:
                self._shelve(sandbox_id, Paused(generation, has_processes=True))
            return life
        reply, _ = await client.call("free", sandbox_id=sandbox_id, for_good=for_good)
        self._paused.pop(sandbox_id, None)
        if reply["generation"] is not None:
            self._shelve(sandbox_id, Paused(reply["generation"], has_processes=False))
        return None

    def _shelve(self, sandbox_id: str, paused: Paused) -> None:
        self._running.pop(sandbox_id, None)
        self._paused[sandbox_id] = paused

    async def close(self) -> None:
        self._closed = True
        if self._client:
            self._client.close()
        loop = asyncio.get_running_loop()
        for life in self._lives.values():
            loop.remove_reader(life.process)
            os.close(life.process)
        self._lives.clear()
        self._running.clear()
        await self._doors.close_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._agents:
            await self._agents.close()

    def running(self) -> Mapping[str, Running]:
        return self._running

    def paused(self) -> Mapping[str, Paused]:
        return self._paused

    def ended(self) -> AsyncIterator[str]:
        return _watching(self._ended)

    def departed(self) -> AsyncIterator[str]:
        return _watching(self._departed)

    def _follow(self, running: Running, process: int, spec: SandboxSpec | None) -> Life:
        loop = asyncio.get_running_loop()
        life = Life(running, process, loop.create_future(), spec)
        self._lives[running.sandbox_id] = life
        self._running[running.sandbox_id] = running
        loop.add_reader(process, self._exited, life)
        return life

    def _exited(self, life: Life) -> None:
        asyncio.get_running_loop().remove_reader(life.process)
        os.close(life.process)
        del self._lives[life.running.sandbox_id]
        self._running.pop(life.running.sandbox_id, None)
        self._spawn(self._free(life))

    async def _free(self, life: Life) -> None:
        sandbox_id = life.running.sandbox_id
        try:
            await self._doors.close(life.running.sandbox_id)
            if not life.keep:
                with contextlib.suppress(OSError):
                    self._log_ends.keep(sandbox_id, self._storage_of(sandbox_id) / "log")
                await self._forget(sandbox_id, for_good=life.for_good)
        finally:
            life.over.set_result(None)
            stays = sandbox_id in self._paused
            tell(self._departed if stays else self._ended | self._departed, sandbox_id)

    async def _end(self, life: Life) -> None:
        # From here on nobody is sent to it: a connection that breaks then is known to be its end.
        self._running.pop(life.running.sandbox_id, None)
        life.ending = True
        client = await self._launcher()
        # A sandbox that has ended meanwhile has closed its descriptor, whose number may be another's by now.
        if self._lives.get(life.running.sandbox_id) is life:
            process = os.dup(life.process)
            try:
                await client.call("kill", process, sandbox_id=life.running.sandbox_id)
            finally:
                os.close(process)
        await asyncio.shield(life.over)

    async def _forget(self, sandbox_id: str, *, for_good: bool = False) -> None:
        """End a sandbox and free what need not stay of it, as far as a launcher can be had."""
        with contextlib.suppress(LauncherGoneError):
            client = await self._launcher()
            life = self._lives.get(sandbox_id)
            if life := life or await self._adopt(client, sandbox_id, for_good=for_good):
                await self._end(life)

    async def _ask(self, operation: str, **fields: Any) -> dict[str, Any]:
        """A request to the launcher about a sandbox, with what it refuses as a BermError."""
        try:
            client = await self._launcher()
            reply, _ = await client.call(operation, **fields)
        except LauncherGoneError as failure:
            raise BermError(Code.UNAVAILABLE, "the launcher ended meanwhile", "try again") from failure
        except OSError as failure:
            code = _REFUSALS.get(failure.errno or 0, Code.INTERNAL)
            raise BermError(code, f"could not {operation} the sandbox: {failure}") from failure
        return reply

    async def _launcher(self) -> LauncherClient:
        async with self._connecting:
            if self._client is None:
                self._client = await daemon.connect(self._config, self._launcher_gone)
            return self._client

    def _launcher_gone(self) -> None:
        self._client = None
        if not self._closed:
            self._spawn(self.start())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()):
            log.error("%s", failure, exc_info=failure)

    def _sandbox_path(self, sandbox_id: str) -> Path:
        return self._pool / "sandboxes" / sandbox_id

    def _storage_of(self, sandbox_id: str) -> Path:
        """Where the files of a sandbox are, running or paused."""
        own = self._sandbox_path(sandbox_id)
        return own if own.exists() else self._pool / "paused" / sandbox_id

    def _upper(self, sandbox_id: str) -> Path:
        return self._sandbox_path(sandbox_id) / "rw" / "upper"


def _watching(watchers: Watchers) -> AsyncIterator[str]:
    # Watching begins with the call, not with the first wait, so that nothing is missed between.
    queue: asyncio.Queue[str] = asyncio.Queue()
    watchers.add(queue)
    return _watch(watchers, queue)


async def _watch(watchers: Watchers, queue: asyncio.Queue[str]) -> AsyncIterator[str]:
    try:
        while True:
            yield await queue.get()
    finally:
        watchers.discard(queue)


def tell(watchers: Watchers, sandbox_id: str) -> None:
    for queue in watchers:
        queue.put_nowait(sandbox_id)
