"""This machine as a node: sandboxes are the launcher's children, followed by a pidfd of their process 1."""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
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
    Running,
    SandboxSpec,
    Usage,
)
from berm.node import agentclient, daemon, layers, logs, machine, mounts, starting, trust, usage, written
from berm.node.egress import lists
from berm.node.interface import Command
from berm.node.lives import Life, tell
from berm.node.pausing import Pausing

log = logging.getLogger(__name__)
T = TypeVar("T")

_LAUNCHERS: Final = 2
"""How many launchers may end under one creation: one that was ending already, and another."""

_START_SECONDS: Final = 30
"""How long a sandbox may take to come up before it is given up; a guard, not a pace."""

_END_SECONDS: Final = 5
"""How long an agent may be gone before its sandbox is, to be told apart from one that only has no room."""


class LocalNode(Pausing):
    """Node (see interface.py) over the launcher of this machine."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._instance = daemon.instance(config.home)
        self._gauge = machine.Gauge((config.home, self._pool))

    @property
    def node_id(self) -> str:
        return self._instance

    @property
    def machine(self) -> Machine:
        return self._gauge.machine()

    async def load(self) -> MachineLoad:
        return await asyncio.to_thread(self._gauge.read)

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
            await asyncio.shield(self._spawn(self._give_up(spec)))
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
            await self._give_up(spec)
            raise
        except starting.RefusedError as failure:
            await self._give_up(spec)
            raise BermError(Code.INVALID_ARGUMENT, f"the sandbox cannot start: {failure}") from failure
        except (OSError, TimeoutError) as failure:
            await self._give_up(spec)
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
                    if spec.egress.rules:
                        await self.trust(spec.sandbox_id, spec.access_token)
                if spec.generation:
                    await self._settled(client, spec)
            except OSError:
                await self._mark(spec)
                await self._end(life)
                raise
        return running

    async def _mark(self, spec: SandboxSpec) -> None:
        """Keep the files of a paused sandbox that did not start, whether it is still marked or not."""
        if spec.generation:
            with contextlib.suppress(OSError):
                client = await self._launcher()
                await client.call("mark", sandbox_id=spec.sandbox_id, generation=spec.generation)

    async def _give_up(self, spec: SandboxSpec) -> None:
        """End what there is of a sandbox that did not start; a paused one is as it was."""
        await self._mark(spec)
        await self._forget(spec.sandbox_id)

    async def _settled(self, client: LauncherClient, spec: SandboxSpec) -> None:
        """From here on a paused sandbox runs again, and its files are no older than its processes."""
        await client.call("resume", sandbox_id=spec.sandbox_id, generation=spec.generation)
        self._paused.pop(spec.sandbox_id, None)

    async def kill(self, sandbox_id: str) -> bool:
        if creating := self._creating.get(sandbox_id):
            await asyncio.wait((creating,))
        if life := self._lives.get(sandbox_id):
            life.for_good = True
            await self._end_surely(life)
            return True
        if sandbox_id not in self._paused:
            return False
        await self._forget(sandbox_id, for_good=True)
        tell(self._ended | self._departed, sandbox_id)
        return True

    async def _end_surely(self, life: Life) -> None:
        try:
            await self._end(life)
        except LauncherGoneError as failure:
            raise BermError(Code.UNAVAILABLE, "the launcher ended meanwhile", "try again") from failure

    async def answers(self, sandbox_id: str) -> bool:
        running = self._running.get(sandbox_id)
        if running is None or self._agents is None:
            return False
        return await self._agents.is_well(Endpoint(running.address, AGENT_PORT))

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

    async def trust(self, sandbox_id: str, access_token: str | None) -> None:
        life, agents = self._open(sandbox_id)
        endpoint = Endpoint(life.running.address, AGENT_PORT)
        work = trust.install(agents, endpoint, access_token or "", self._doors.certificate)
        try:
            async with asyncio.timeout(trust.SECONDS):
                await self._while_alive(life, work)
        except (BermError, TimeoutError) as error:
            log.warning("%s trusts no certificates for its rules: %s", sandbox_id, error or "no answer")

    async def logs(self, sandbox_id: str) -> Sequence[LogLine]:
        path = self._storage_of(sandbox_id) / "log"
        if path.exists():
            return await asyncio.to_thread(logs.read, path)
        return logs.parse(self._log_ends.get(sandbox_id))

    async def usage(self, sandbox_ids: Collection[str]) -> Mapping[str, Usage]:
        lives = [life for sandbox_id in sandbox_ids if (life := self._lives.get(sandbox_id))]
        return await asyncio.to_thread(self._measure, lives)

    def _measure(self, lives: Sequence[Life]) -> dict[str, Usage]:
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

    def _open(self, sandbox_id: str) -> tuple[Life, agentclient.Agents]:
        """A living sandbox that is about to be used, and the way to its agent."""
        life = self._lives.get(sandbox_id)
        if life is None or self._agents is None:
            raise BermError(Code.UNAVAILABLE, f"sandbox {sandbox_id} has ended")
        if life.spec and life.spec.kept and life.begun is None:
            life.begun = written.marks(self._upper(sandbox_id))
        return life, self._agents

    async def _while_alive(self, life: Life, work: Coroutine[Any, Any, T]) -> T:
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

    async def _drop(self, life: Life) -> None:
        """End a sandbox that was to be kept, if it has not ended, and free what it held."""
        if self._lives.get(life.running.sandbox_id) is life:
            await self._end(life)
        await self._forget(life.running.sandbox_id)

    async def _keep(self, life: Life) -> Layer:
        upper = self._upper(life.running.sandbox_id)
        size = await asyncio.to_thread(self._tidy, life, upper)
        if size is None:
            return Layer("", 0)
        name = f"layer-{uuid.uuid4().hex}"
        client = await self._launcher()
        await client.call("keep", sandbox_id=life.running.sandbox_id, layer=name)
        await layers.remove_rest(self._pool, name)
        return Layer(name, size)

    def _tidy(self, life: Life, upper: Path) -> int | None:
        """Leave only what the sandbox wrote; returns the bytes in that, None if it wrote nothing."""
        if life.begun is not None and life.spec:
            if written.marks(upper) == life.begun:
                return None
            lower = [self.layer_path(layer) for layer in life.spec.layers]
            targets = [mount.target for mount in mounts.all_of(life.spec)]
            written.remove_stubs(upper, life.begun, targets, lower)
        return layers.size(upper)


def _address(life: Life) -> tuple[Endpoint, str]:
    token = life.spec.access_token if life.spec else None
    return Endpoint(life.running.address, AGENT_PORT), token or ""


def _outcome(life: Life, task: asyncio.Task[T]) -> T:
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
