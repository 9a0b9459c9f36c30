"""This machine as a node: sandboxes are the launcher's children, followed by a pidfd of their process 1."""

import asyncio
import contextlib
import errno
import logging
import os
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from berm.config import Config
from berm.errors import BermError, Code
from berm.images.threads import in_thread
from berm.launcher.client import LauncherClient, LauncherGoneError
from berm.models import (
    AGENT_PORT,
    Egress,
    Endpoint,
    Layer,
    LogLine,
    Machine,
    MachineLoad,
    Paused,
    Running,
    SandboxSpec,
    Usage,
)
from berm.node import agentclient, daemon, layers, logs, machine, mounts, starting, uploads, usage, written
from berm.node.egress import lists
from berm.node.egress.doors import Doors
from berm.node.interface import Command
from berm.node.storage import Storage

_STOPPING: Final = (0.001, 0.005, 0.02, *[0.1] * 100)
"""Seconds between two looks whether all processes of a sandbox have stopped."""

_REFUSALS: Final = {errno.ESTALE: Code.CONFLICT, errno.ESRCH: Code.NOT_FOUND}

log = logging.getLogger(__name__)
T = TypeVar("T")

_LAUNCHERS: Final = 2
"""How many launchers may end under one creation: one that was ending already, and another."""

_START_SECONDS: Final = 30
"""How long a sandbox may take to come up before it is given up; a guard, not a pace."""

_END_SECONDS: Final = 5
"""How long an agent may be gone before its sandbox is, to be told apart from one that only has no room."""


@dataclass(slots=True)
class _Life:
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


class LocalNode(Storage):
    """Node (see interface.py) over the launcher of this machine."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._agents: agentclient.Agents | None = None
        self._doors = Doors()
        self._lives: dict[str, _Life] = {}
        self._running: dict[str, Running] = {}
        self._paused: dict[str, Paused] = {}
        self._ended: set[asyncio.Queue[str]] = set()
        self._departed: set[asyncio.Queue[str]] = set()
        self._creating: dict[str, asyncio.Future[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._instance = daemon.instance(config.home)
        self._log_ends = logs.Ends()
        self._gauge = machine.Gauge((config.home, self._pool))
        self._client: LauncherClient | None = None
        self._connecting = asyncio.Lock()
        self._closed = False

    @property
    def node_id(self) -> str:
        return self._instance

    @property
    def machine(self) -> Machine:
        return self._gauge.machine()

    async def load(self) -> MachineLoad:
        return await asyncio.to_thread(self._gauge.read)

    async def start(self) -> None:
        client = await self._launcher()
        if self._agents is None:
            self._agents = agentclient.Agents()
            await layers.sweep(self._pool)
            await uploads.sweep(self._pool)
            await self.volumes.sweep()
        reply, _ = await client.call("list")
        for sandbox_id in set(reply["sandboxes"]) - self._lives.keys() - self._creating.keys():
            await self._adopt(client, sandbox_id)
        reply, _ = await client.call("shelved")
        for sandbox_id, generation in reply["shelved"].items():
            self._paused[sandbox_id] = Paused(generation, has_processes=False)

    async def _adopt(
        self, client: LauncherClient, sandbox_id: str, *, for_good: bool = False
    ) -> _Life | None:
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

    async def create(self, spec: SandboxSpec) -> Running:
        if spec.sandbox_id in self._lives.keys() | self._creating.keys():
            raise BermError(Code.CONFLICT, f"sandbox {spec.sandbox_id} is running already")
        if spec.generation:
            self._check_generation(spec.sandbox_id, spec.generation)
        mounts.check(spec)
        self._creating[spec.sandbox_id] = asyncio.get_running_loop().create_future()
        try:
            await self._doors.check(spec.egress)
            return await self._create_prepared(spec)
        except asyncio.CancelledError:
            # Wherever that came, it may run already.
            await asyncio.shield(self._spawn(self._forget(spec.sandbox_id)))
            raise
        finally:
            self._creating.pop(spec.sandbox_id).set_result(None)

    async def _create_prepared(self, spec: SandboxSpec) -> Running:
        try:
            await self._prepare_with_room(spec)
            for _ in range(_LAUNCHERS):
                with contextlib.suppress(LauncherGoneError):
                    return await self._create(spec)
        finally:
            if spec.kept or spec.written:
                await asyncio.shield(layers.remove(self._branch(spec.sandbox_id)))
        raise BermError(
            Code.UNAVAILABLE, "the launcher keeps ending", f"see {self._config.run_dir}/launcher.log"
        )

    async def _prepare_with_room(self, spec: SandboxSpec) -> None:
        try:
            await self._prepare(spec)
        except BermError as error:
            if error.code is not Code.NO_SPACE:
                raise
            await self.regain()
            await self._prepare(spec)

    async def _prepare(self, spec: SandboxSpec) -> None:
        """What the launcher expects to be there; what it takes longest for is done in a thread."""
        if spec.mounts:
            await asyncio.to_thread(mounts.prepare, self._pool, spec)
        if spec.generation:
            await layers.tidy_written(self._pool / "paused" / spec.sandbox_id)
        if spec.written:
            await layers.begin_from(self._pool, spec.written, self._branch(spec.sandbox_id))
        if spec.kept and spec.layers:
            target = self._branch(spec.sandbox_id)
            # A thread that goes on after a cancellation would make what has been removed by then.
            await in_thread(lambda _: layers.branch(self._pool, spec.layers[-1], target))

    def _branch(self, sandbox_id: str) -> Path:
        return self._pool / "branches" / sandbox_id

    async def _create(self, spec: SandboxSpec) -> Running:
        try:
            async with asyncio.timeout(_START_SECONDS):
                return await self._start(await self._launcher(), spec)
        except LauncherGoneError:
            await self._forget(spec.sandbox_id)
            raise
        except starting.RefusedError as failure:
            await self._forget(spec.sandbox_id)
            raise BermError(Code.INVALID_ARGUMENT, f"the sandbox cannot start: {failure}") from failure
        except (OSError, TimeoutError) as failure:
            await self._forget(spec.sandbox_id)
            raise BermError(
                Code.INTERNAL, f"the sandbox did not start: {failure or 'no answer'}"
            ) from failure

    async def _start(self, client: LauncherClient, spec: SandboxSpec) -> Running:
        with starting.control_sockets() as (ours, theirs):
            running = await starting.ask(client, spec, theirs)
            life = self._follow(running, await starting.introduction(ours), spec)
            try:
                await starting.ready(ours)
                if spec.egress:
                    async with self._doors.changing(spec.sandbox_id, running.gateway, spec.egress):
                        pass
                if spec.generation:
                    await self._settled(client, spec)
            except OSError:
                await self._end(life)
                raise
        return running

    async def _settled(self, client: LauncherClient, spec: SandboxSpec) -> None:
        """From here on a paused sandbox runs again, and its files are no older than its processes."""
        await client.call("resume", sandbox_id=spec.sandbox_id, generation=spec.generation)
        self._paused.pop(spec.sandbox_id, None)

    async def kill(self, sandbox_id: str) -> bool:
        if creating := self._creating.get(sandbox_id):
            await asyncio.wait((creating,))
        if life := self._lives.get(sandbox_id):
            life.for_good = True
            await self._end(life)
            return True
        if sandbox_id not in self._paused:
            return False
        await self._forget(sandbox_id, for_good=True)
        _tell(self._ended | self._departed, sandbox_id)
        return True

    async def _end(self, life: _Life) -> None:
        # From here on nobody is sent to it: a connection that breaks then is known to be its end.
        self._running.pop(life.running.sandbox_id, None)
        life.ending = True
        client = await self._launcher()
        # A sandbox that has ended meanwhile has closed its descriptor, whose number may be another's by now.
        if self._lives.get(life.running.sandbox_id) is life:
            await client.call("kill", life.process, sandbox_id=life.running.sandbox_id)
        await asyncio.shield(life.over)

    async def pause(self, sandbox_id: str, generation: int, *, memory: bool) -> None:
        life = self._alive(sandbox_id)
        self._shelve(sandbox_id, Paused(generation, has_processes=True))
        _tell(self._departed, sandbox_id)
        try:
            await self._stop(life, "pause", generation=generation)
            if not memory:
                await self._end(life)
            await self.settle()
        except BaseException:
            await asyncio.shield(self._spawn(self._go_on(life)))
            raise

    def _alive(self, sandbox_id: str) -> _Life:
        if sandbox_id not in self._running:
            raise BermError(Code.NOT_FOUND, f"sandbox {sandbox_id} does not run")
        return self._lives[sandbox_id]

    async def _stop(self, life: _Life, operation: str, **fields: Any) -> None:
        """Have all processes of a sandbox stopped. The kernel tells of that only who asks."""
        for seconds in _STOPPING:
            if life.ending or life.over.done():
                raise BermError(Code.NOT_FOUND, f"sandbox {life.running.sandbox_id} has ended")
            reply = await self._ask(operation, sandbox_id=life.running.sandbox_id, **fields)
            if life.ending:  # it does not die while it is stopped
                await self._ask("freeze", sandbox_id=life.running.sandbox_id, frozen=False)
            elif reply["frozen"]:
                return
            await asyncio.sleep(seconds)
        raise BermError(
            Code.CONFLICT,
            f"the processes of sandbox {life.running.sandbox_id} did not stop within {sum(_STOPPING):.0f} s",
            "it goes on; try again",
        )

    async def _go_on(self, life: _Life) -> None:
        """Let a sandbox run that has not become paused; nothing happens if it has ended."""
        sandbox_id = life.running.sandbox_id
        if self._lives.get(sandbox_id) is not life or life.ending:
            return
        await self._ask("freeze", sandbox_id=sandbox_id, frozen=False)
        if self._lives.get(sandbox_id) is life:
            self._paused.pop(sandbox_id, None)
            self._running[sandbox_id] = life.running

    async def answers(self, sandbox_id: str) -> bool:
        running = self._running.get(sandbox_id)
        if running is None or self._agents is None:
            return False
        return await self._agents.is_well(Endpoint(running.address, AGENT_PORT))

    async def resume(self, sandbox_id: str, generation: int) -> Running:
        self._check_generation(sandbox_id, generation)
        life = self._lives.get(sandbox_id)
        if life is None or life.ending:
            raise BermError(Code.NOT_FOUND, f"sandbox {sandbox_id} has no processes")
        await self._ask("resume", sandbox_id=sandbox_id, generation=generation)
        if self._lives.get(sandbox_id) is not life or life.ending:
            raise BermError(Code.NOT_FOUND, f"sandbox {sandbox_id} has ended")
        del self._paused[sandbox_id]
        self._running[sandbox_id] = life.running
        return life.running

    def _check_generation(self, sandbox_id: str, generation: int) -> None:
        paused = self._paused.get(sandbox_id)
        if paused is None or paused.generation != generation:
            here = f"of its {paused.generation}. pause" if paused else "of no pause"
            raise BermError(
                Code.CONFLICT,
                f"sandbox {sandbox_id} was paused {generation} times, and its files here are {here}",
                "were they put back from a copy? It is not resumed from another state than its last",
            )

    async def snapshot(self, sandbox_id: str) -> Layer:
        if sandbox_id not in self._running.keys() | self._paused.keys():
            raise BermError(Code.NOT_FOUND, f"sandbox {sandbox_id} is not there")
        name = f"layer-{uuid.uuid4().hex}"
        async with (
            self._regaining(),
            layers.copied(self._pool, name) as target,
            self._stopped(sandbox_id),
        ):
            await layers.copy(self._storage_of(sandbox_id), target)
        return Layer(name, await asyncio.to_thread(layers.size, self.layer_path(name)))

    @contextlib.asynccontextmanager
    async def _stopped(self, sandbox_id: str) -> AsyncIterator[None]:
        """Nothing of a sandbox runs in this block."""
        life = self._lives.get(sandbox_id)
        if life is None or sandbox_id in self._paused:
            yield
            return
        try:
            await self._stop(life, "freeze", frozen=True)
            yield
        finally:
            await asyncio.shield(self._spawn(self._go_on(life)))

    async def drop_memory(self, sandbox_id: str) -> None:
        if life := self._lives.get(sandbox_id):
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

    async def police(self, sandbox_id: str, egress: Egress) -> None:
        await self._doors.check(egress)
        life, _ = self._open(sandbox_id)
        client = await self._launcher()
        gateway = life.running.gateway
        try:
            async with self._doors.changing(sandbox_id, gateway, egress):
                await client.call("police", sandbox_id=sandbox_id, policy=lists.policy(egress).to_wire())
        except OSError as failure:
            raise BermError(Code.INTERNAL, f"the firewall was not changed: {failure}") from failure

    async def logs(self, sandbox_id: str) -> Sequence[LogLine]:
        path = self._storage_of(sandbox_id) / "log"
        if path.exists():
            return await asyncio.to_thread(logs.read, path)
        return logs.parse(self._log_ends.get(sandbox_id))

    def _storage_of(self, sandbox_id: str) -> Path:
        """Where the files of a sandbox are, running or paused."""
        own = self._sandbox_path(sandbox_id)
        return own if own.exists() else self._pool / "paused" / sandbox_id

    async def usage(self, sandbox_ids: Collection[str]) -> Mapping[str, Usage]:
        lives = [life for sandbox_id in sandbox_ids if (life := self._lives.get(sandbox_id))]
        return await asyncio.to_thread(self._measure, lives)

    def _measure(self, lives: Sequence[_Life]) -> dict[str, Usage]:
        found = {}
        for life in lives:
            path = self._sandbox_path(life.running.sandbox_id)
            # What belongs to one that ends meanwhile may be half there.
            with contextlib.suppress(OSError, ValueError):
                life.meter = life.meter or usage.Meter.find(path, self._instance)
                found[life.running.sandbox_id] = life.meter.read()
                logs.trim(path / "log")
        return found

    async def run(self, sandbox_id: str, command: Command, output: Callable[[str], None]) -> int:
        life, agents = self._open(sandbox_id)
        return await self._while_alive(life, agents.run(*_address(life), command, output))

    async def begin(self, sandbox_id: str, command: Command) -> None:
        life, agents = self._open(sandbox_id)
        await self._while_alive(life, agents.begin(*_address(life), command))

    def _open(self, sandbox_id: str) -> tuple[_Life, agentclient.Agents]:
        """A living sandbox that is about to be used, and the way to its agent."""
        life = self._lives.get(sandbox_id)
        if life is None or self._agents is None:
            raise BermError(Code.UNAVAILABLE, f"sandbox {sandbox_id} has ended")
        if life.spec and life.spec.kept and life.begun is None:
            life.begun = written.marks(self._upper(sandbox_id))
        return life, self._agents

    async def _while_alive(self, life: _Life, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns, unless the sandbox ends first, which its connection may never tell."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait((task, life.over), return_when=asyncio.FIRST_COMPLETED)
            if task.done() and _went_away(task):
                await asyncio.wait((life.over,), timeout=_END_SECONDS)
            if task.done() and not life.over.done():
                return task.result()
        finally:
            task.cancel()
            await asyncio.wait((task,))
        return _outcome(life, task)

    async def commit(self, sandbox_id: str) -> Layer:
        life, _ = self._open(sandbox_id)
        life.keep = True
        try:
            await self._end(life)
            layer = await self._keep(life)
        except BaseException as failure:
            life.keep = False
            await asyncio.shield(self._spawn(self._drop(life)))
            if isinstance(failure, OSError):
                raise BermError(Code.INTERNAL, f"the sandbox was not kept: {failure}") from failure
            raise
        if not layer.name:
            await self._forget(sandbox_id)
        return layer

    async def _drop(self, life: _Life) -> None:
        """End a sandbox that was to be kept, if it has not ended, and free what it held."""
        if self._lives.get(life.running.sandbox_id) is life:
            await self._end(life)
        await self._forget(life.running.sandbox_id)

    async def _keep(self, life: _Life) -> Layer:
        upper = self._upper(life.running.sandbox_id)
        size = await asyncio.to_thread(self._tidy, life, upper)
        if size is None:
            return Layer("", 0)
        name = f"layer-{uuid.uuid4().hex}"
        client = await self._launcher()
        await client.call("keep", sandbox_id=life.running.sandbox_id, layer=name)
        await layers.remove_rest(self._pool, name)
        return Layer(name, size)

    def _tidy(self, life: _Life, upper: Path) -> int | None:
        """Leave only what the sandbox wrote; returns the bytes in that, None if it wrote nothing."""
        if life.begun is not None and life.spec:
            if written.marks(upper) == life.begun:
                return None
            lower = [self.layer_path(layer) for layer in life.spec.layers]
            targets = [mount.target for mount in mounts.all_of(life.spec)]
            written.remove_stubs(upper, life.begun, targets, lower)
        return layers.size(upper)

    def ended(self) -> AsyncIterator[str]:
        return _watching(self._ended)

    def departed(self) -> AsyncIterator[str]:
        return _watching(self._departed)

    def _sandbox_path(self, sandbox_id: str) -> Path:
        return self._pool / "sandboxes" / sandbox_id

    def _upper(self, sandbox_id: str) -> Path:
        return self._sandbox_path(sandbox_id) / "rw" / "upper"

    def _follow(self, running: Running, process: int, spec: SandboxSpec | None) -> _Life:
        loop = asyncio.get_running_loop()
        life = _Life(running, process, loop.create_future(), spec)
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
            _tell(self._departed if stays else self._ended | self._departed, sandbox_id)

    async def _forget(self, sandbox_id: str, *, for_good: bool = False) -> None:
        """End a sandbox and free what need not stay of it, as far as a launcher can be had."""
        with contextlib.suppress(LauncherGoneError):
            client = await self._launcher()
            life = self._lives.get(sandbox_id)
            if life := life or await self._adopt(client, sandbox_id, for_good=for_good):
                await self._end(life)

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


def _watching(watchers: set[asyncio.Queue[str]]) -> AsyncIterator[str]:
    # Watching begins with the call, not with the first wait, so that nothing is missed between.
    queue: asyncio.Queue[str] = asyncio.Queue()
    watchers.add(queue)
    return _watch(watchers, queue)


async def _watch(watchers: set[asyncio.Queue[str]], queue: asyncio.Queue[str]) -> AsyncIterator[str]:
    try:
        while True:
            yield await queue.get()
    finally:
        watchers.discard(queue)


def _tell(watchers: set[asyncio.Queue[str]], sandbox_id: str) -> None:
    for queue in watchers:
        queue.put_nowait(sandbox_id)


def _address(life: _Life) -> tuple[Endpoint, str]:
    token = life.spec.access_token if life.spec else None
    return Endpoint(life.running.address, AGENT_PORT), token or ""


def _outcome(life: _Life, task: asyncio.Task[T]) -> T:
    """What came of a command whose sandbox has ended: it may have ended just before."""
    if task.cancelled() or task.exception():
        raise BermError(
            Code.UNAVAILABLE,
            f"sandbox {life.running.sandbox_id} ended while the command ran",
            "it may have needed more memory than it has",
        )
    return task.result()


def _went_away(task: asyncio.Task[Any]) -> bool:
    failure = task.exception()
    return isinstance(failure, BermError) and failure.code is Code.UNAVAILABLE
