"""This machine as a node: sandboxes are the launcher's children, followed by a pidfd of their process 1."""

import asyncio
import contextlib
import errno
import json
import os
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from berm.config import Config
from berm.errors import BermError, Code
from berm.images import process
from berm.launcher import spec as launch
from berm.launcher.client import LauncherClient, LauncherGoneError
from berm.models import AGENT_PORT, Endpoint, LogLine, Running, SandboxSpec
from berm.node import agentclient, daemon, logs

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
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: LauncherClient | None = None
        self._connecting = asyncio.Lock()
        self._closed = False

    async def start(self) -> None:
        client = await self._launcher()
        reply, _ = await client.call("list")
        for sandbox_id in reply["sandboxes"]:
            await self._adopt(client, sandbox_id)

    async def _adopt(self, client: LauncherClient, sandbox_id: str) -> None:
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
        if spec.sandbox_id in self._lives:
            raise BermError(Code.CONFLICT, f"sandbox {spec.sandbox_id} is running already")
        client = await self._launcher()
        try:
            async with asyncio.timeout(_START_SECONDS):
                return await self._create(client, spec)
        except LauncherGoneError:
            await self._forget(spec.sandbox_id)
            raise BermError(
                Code.UNAVAILABLE,
                "the launcher ended while it started the sandbox",
                "try again; it is back soon",
            ) from None
        except (OSError, TimeoutError) as failure:
            await self._forget(spec.sandbox_id)
            raise BermError(
                Code.INTERNAL, f"the sandbox did not start: {failure or 'no answer'}"
            ) from failure
        except asyncio.CancelledError:
            self._spawn(self._forget(spec.sandbox_id))
            raise

    async def _create(self, client: LauncherClient, spec: SandboxSpec) -> Running:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with ours:
            with theirs, _config_file(spec) as config:
                reply, _ = await client.call(
                    "create", theirs.fileno(), config, **_launch_spec(spec).to_wire()
                )
            process = await _introduction(ours)
            running = Running(spec.sandbox_id, reply["address"])
            life = self._follow(running, process, spec.access_token)
            try:
                _told(await _packet(ours))
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
            self._spawn(self._reconnect())

    async def _reconnect(self) -> None:
        await self._launcher()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _launch_spec(spec: SandboxSpec) -> launch.LaunchSpec:
    resources = spec.resources
    return launch.LaunchSpec(
        sandbox_id=spec.sandbox_id,
        layers=spec.layers,
        cpu_count=resources.cpu_count,
        memory_mb=resources.memory_mb,
        disk_mb=resources.disk_mb,
        pids=resources.pids,
        internet=spec.allow_internet,
    )


@contextlib.contextmanager
def _config_file(spec: SandboxSpec) -> Iterator[int]:
    """The agent's settings as an anonymous file: the launcher hands it on and never reads it."""
    fd = os.memfd_create("agent", os.MFD_CLOEXEC)
    try:
        settings = {
            "access_token": spec.access_token,
            "env": dict(spec.env),
            "user": spec.user,
            "workdir": spec.workdir,
            "cpu_count": spec.resources.cpu_count,
            "memory_mb": spec.resources.memory_mb,
            "disk_mb": spec.resources.disk_mb,
        }
        os.write(fd, json.dumps(settings).encode())
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _packet(sock: socket.socket) -> tuple[dict[str, Any], list[int]]:
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()
    loop.add_reader(sock, _set, readable)
    try:
        await readable
    finally:
        loop.remove_reader(sock)
    packet = launch.receive(sock)
    if packet is None:
        raise OSError(errno.EPIPE, "it ended without a word")
    return packet


async def _introduction(sock: socket.socket) -> int:
    message, fds = await _packet(sock)
    _told((message, fds))
    if len(fds) != 1:
        raise OSError(errno.EPROTO, "it did not say which process it is")
    return fds[0]


def _told(packet: tuple[dict[str, Any], list[int]]) -> None:
    if "error" in packet[0]:
        raise OSError(packet[0]["error"])
