"""This machine as a node: sandboxes are the launcher's children, followed by a pidfd of their process 1."""

import asyncio
import contextlib
import logging
import os
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from berm.config import Config
from berm.errors import BermError, Code
from berm.images import process
from berm.launcher.client import LauncherClient, LauncherGoneError
from berm.models import AGENT_PORT, Endpoint, LogLine, Running, SandboxSpec
from berm.node import agentclient, daemon, logs, starting

log = logging.getLogger(__name__)

_LAUNCHERS: Final = 2
"""How many launchers may end under one creation: one that was ending already, and another."""

_START_SECONDS: Final = 30
"""How long a sandbox may take to come up before it is given up; a guard, not a pace."""


@dataclass(slots=True)
class _Life:
    """A running sandbox and what is needed to follow and end it."""

    running: Running
    process: int
    """pidfd of its process 1."""
    over: asyncio.Future[None]
    """Done when the sandbox has ended and all it held is free."""
    access_token: str | None = None
    keep: bool = False
    """Whether its files stay when it ends, for `commit`."""


class LocalNode:
    """Node (see interface.py) over the launcher of this machine."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lives: dict[str, _Life] = {}
        self._running: dict[str, Running] = {}
        self._watchers: set[asyncio.Queue[str]] = set()
        self._creating: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: LauncherClient | None = None
        self._connecting = asyncio.Lock()
        self._closed = False

    async def start(self) -> None:
        client = await self._launcher()
        reply, _ = await client.call("list")
        for sandbox_id in set(reply["sandboxes"]) - self._lives.keys() - self._creating:
            await self._adopt(client, sandbox_id)

    async def _adopt(self, client: LauncherClient, sandbox_id: str) -> None:
        """Follow a sandbox that nobody follows, or free what is left of it."""
        reply, fds = await client.call("adopt", sandbox_id=sandbox_id)
        if fds:
            self._follow(Running(sandbox_id, reply["address"]), fds[0], None)
        else:
            await client.call("free", sandbox_id=sandbox_id)

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
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def running(self) -> Mapping[str, Running]:
        return self._running

    async def create(self, spec: SandboxSpec) -> Running:
        if spec.sandbox_id in self._lives.keys() | self._creating:
            raise BermError(Code.CONFLICT, f"sandbox {spec.sandbox_id} is running already")
        self._creating.add(spec.sandbox_id)
        try:
            for _ in range(_LAUNCHERS):
                with contextlib.suppress(LauncherGoneError):
                    return await self._create(spec)
        finally:
            self._creating.discard(spec.sandbox_id)
        raise BermError(
            Code.UNAVAILABLE, "the launcher keeps ending", f"see {self._config.run_dir}/launcher.log"
        )

    async def _create(self, spec: SandboxSpec) -> Running:
        try:
            async with asyncio.timeout(_START_SECONDS):
                return await self._start(await self._launcher(), spec)
        except LauncherGoneError:
            await self._forget(spec.sandbox_id)
            raise
        except (OSError, TimeoutError) as failure:
            await self._forget(spec.sandbox_id)
            raise BermError(
                Code.INTERNAL, f"the sandbox did not start: {failure or 'no answer'}"
            ) from failure
        except asyncio.CancelledError:
            self._spawn(self._forget(spec.sandbox_id))
            raise

    async def _start(self, client: LauncherClient, spec: SandboxSpec) -> Running:
        with starting.control_sockets() as (ours, theirs):
            running = await starting.ask(client, spec, theirs)
            life = self._follow(running, await starting.introduction(ours), spec.access_token)
            try:
                await starting.ready(ours)
            except OSError:
                await self._end(life)
                raise
        return running

    async def kill(self, sandbox_id: str) -> bool:
        life = self._lives.get(sandbox_id)
        if life is None:
            return False
        await self._end(life)
        return True

    async def _end(self, life: _Life) -> None:
        # From here on nobody is sent to it: a connection that breaks then is known to be its end.
        self._running.pop(life.running.sandbox_id, None)
        client = await self._launcher()
        # A sandbox that has ended meanwhile has closed its descriptor, whose number may be another's by now.
        if self._lives.get(life.running.sandbox_id) is life:
            await client.call("kill", life.process)
        await asyncio.shield(life.over)

    async def logs(self, sandbox_id: str) -> Sequence[LogLine]:
        return logs.read(self._sandbox_path(sandbox_id) / "log")

    async def run(self, sandbox_id: str, command: Sequence[str], output: Callable[[str], None]) -> int:
        life = self._lives[sandbox_id]
        endpoint = Endpoint(life.running.address, AGENT_PORT)
        return await agentclient.run(endpoint, life.access_token or "", command, "root", output)

    async def commit(self, sandbox_id: str) -> str:
        life = self._lives[sandbox_id]
        life.keep = True
        await self._end(life)
        name = f"layer-{uuid.uuid4().hex}"
        target = self.layer_path(name)
        fresh = target.with_name(f".{name}")
        upper = self._sandbox_path(sandbox_id) / "rw" / "upper"
        await process.run(["cp", "-a", "--reflink=auto", "--", str(upper), str(fresh)])
        fresh.rename(target)
        await (await self._launcher()).call("free", sandbox_id=sandbox_id)
        return name

    def layer_path(self, name: str) -> Path:
        return self._config.pool_dir / "layers" / name

    def ended(self) -> AsyncIterator[str]:
        # Watching begins with the call, not with the first wait, so that nothing is missed between.
        queue: asyncio.Queue[str] = asyncio.Queue()
        self._watchers.add(queue)
        return self._watch(queue)

    async def _watch(self, queue: asyncio.Queue[str]) -> AsyncIterator[str]:
        try:
            while True:
                yield await queue.get()
        finally:
            self._watchers.discard(queue)

    def _sandbox_path(self, sandbox_id: str) -> Path:
        return self._config.pool_dir / "sandboxes" / sandbox_id

    def _follow(self, running: Running, process: int, access_token: str | None) -> _Life:
        loop = asyncio.get_running_loop()
        life = _Life(running, process, loop.create_future(), access_token)
        self._lives[running.sandbox_id] = life
        self._running[running.sandbox_id] = running
        loop.add_reader(process, self._exited, life)
        return life

    def _exited(self, life: _Life) -> None:
        asyncio.get_running_loop().remove_reader(life.process)
        os.close(life.process)
        del self._lives[life.running.sandbox_id]
        self._running.pop(life.running.sandbox_id, None)
        self._spawn(self._free(life))

    async def _free(self, life: _Life) -> None:
        try:
            if not life.keep:
                await self._forget(life.running.sandbox_id)
        finally:
            life.over.set_result(None)
            for queue in self._watchers:
                queue.put_nowait(life.running.sandbox_id)

    async def _forget(self, sandbox_id: str) -> None:
        """Free whatever is left of a sandbox that is not running, as far as a launcher can be had."""
        with contextlib.suppress(LauncherGoneError):
            client = await self._launcher()
            reply, fds = await client.call("adopt", sandbox_id=sandbox_id)
            if fds:
                await self._end(self._follow(Running(sandbox_id, reply["address"]), fds[0], None))
            else:
                await client.call("free", sandbox_id=sandbox_id)

    async def _launcher(self) -> LauncherClient:
        async with self._connecting:
            if self._client is None:
                self._client = await daemon.connect(self._config, self._launcher_gone)
            return self._client

    def _launcher_gone(self) -> None:
        self._client = None
        if not self._closed:
            self._spawn(self.start())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()):
            log.error("%s", failure, exc_info=failure)
