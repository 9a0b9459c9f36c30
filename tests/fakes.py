"""Stand-ins for parts that need a whole machine, named for what they do."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from berm.errors import BermError, Code
from berm.models import (
    Disk,
    Egress,
    HugePages,
    Layer,
    LogLine,
    Machine,
    MachineLoad,
    Paused,
    Running,
    SandboxSpec,
    Usage,
)
from berm.node import layers
from berm.node.interface import Command, Copying
from berm.node.volumes import Volumes

_NOWHERE = Path("/nonexistent")
Output = Callable[[str], None]
Program = Callable[[SandboxSpec, Command, Output], Awaitable[int]]


async def says_its_command(_spec: SandboxSpec, command: Command, output: Output) -> int:
    """The program of every FakeNode that was given no other."""
    output(" ".join(command.argv))
    return 0


class FakeNode:
    """A node in memory that keeps the promises of `berm.node.interface.Node`; its sandboxes do nothing.

    A test may set `program` (what `run` does), `written` (the bytes in every new layer; 0 for none) and
    `refusal` (what `copy` raises). Layers and files are names in sets; `root` is for who writes to a path.
    """

    def __init__(self, root: Path = _NOWHERE) -> None:
        self.program: Program = says_its_command
        self.written = 1000
        self.refusal: BermError | None = None
        self.specs: dict[str, SandboxSpec] = {}
        self.lines: dict[str, list[LogLine]] = {}
        self.usages: dict[str, Usage] = {}
        """What `usage` tells of a sandbox that runs."""
        self.commands: list[tuple[str, Command]] = []
        """What was run and begun, in order, each with its sandbox."""
        self.copies: list[Copying] = []
        self.policed: list[tuple[str, Egress]] = []
        """What sandboxes were told that they may reach, in order."""
        self.trusting: list[tuple[str, str | None]] = []
        """Which sandboxes were had trust the node's authority, each with its access token."""
        self.layer_names: set[str] = set()
        self.settled: set[str] = set()
        """The layers there were at the last `settle`."""
        self.dropped: set[str] = set()
        self.received: dict[str, bytes] = {}
        self.used: dict[str, float] = {}
        self.volumes = Volumes(root, 1 << 20)
        """Real ones, as they need nothing but `root`."""
        self._root = root
        self._running: dict[str, Running] = {}
        self._paused: dict[str, Paused] = {}
        self.snapshots = 0
        self.ill: set[str] = set()
        """Sandboxes whose agents do not answer."""
        self._listeners: list[asyncio.Queue[str]] = []

    node_id = "node"
    machine = Machine("6", "85", "A processor", "x86_64")

    async def load(self) -> MachineLoad:
        disk = Disk("/", "/dev/vda", "ext4", 30 << 30, 100 << 30)
        return MachineLoad(8, 12.5, 64 << 30, 16 << 30, HugePages(4, 3, 2, 2 << 20), (disk,))

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def running(self) -> Mapping[str, Running]:
        return self._running

    async def create(self, spec: SandboxSpec) -> Running:
        if spec.sandbox_id in self._running:
            raise BermError(Code.CONFLICT, f"{spec.sandbox_id} is taken")
        if spec.generation:
            self._check_generation(spec.sandbox_id, spec.generation)
            del self._paused[spec.sandbox_id]
        if lost := self.dropped.intersection(spec.layers):
            raise BermError(Code.INTERNAL, f"the sandbox did not start: layer {min(lost)} is gone")
        self.specs[spec.sandbox_id] = spec
        running = Running(spec.sandbox_id, f"10.213.0.{len(self.specs) % 250 + 2}")
        self._running[spec.sandbox_id] = running
        return running

    def paused(self) -> Mapping[str, Paused]:
        return self._paused

    async def pause(self, sandbox_id: str, generation: int, *, memory: bool) -> None:
        if self._running.pop(sandbox_id, None) is None:
            raise BermError(Code.NOT_FOUND, f"{sandbox_id} does not run")
        self._paused[sandbox_id] = Paused(generation, has_processes=memory)

    async def answers(self, sandbox_id: str) -> bool:
        return sandbox_id in self._running and sandbox_id not in self.ill

    async def resume(self, sandbox_id: str, generation: int) -> Running:
        self._check_generation(sandbox_id, generation)
        del self._paused[sandbox_id]
        running = self._running[sandbox_id] = Running(sandbox_id, "10.213.0.2")
        return running

    def _check_generation(self, sandbox_id: str, generation: int) -> None:
        paused = self._paused.get(sandbox_id)
        if paused is None or paused.generation != generation:
            raise BermError(Code.CONFLICT, f"{sandbox_id} is of another generation")

    async def snapshot(self, sandbox_id: str) -> Layer:
        if sandbox_id not in self._running.keys() | self._paused.keys():
            raise BermError(Code.NOT_FOUND, f"{sandbox_id} is not there")
        self.snapshots += 1
        return self._layer(f"snapshot-{self.snapshots}")

    async def drop_memory(self, sandbox_id: str) -> None:
        if paused := self._paused.get(sandbox_id):
            self._paused[sandbox_id] = replace(paused, has_processes=False)

    def put_back(self, sandbox_id: str, generation: int) -> None:
        """Have the files of a paused sandbox as they were at an earlier pause."""
        self._paused[sandbox_id] = Paused(generation, has_processes=False)

    async def kill(self, sandbox_id: str) -> bool:
        return self._paused.pop(sandbox_id, None) is not None or self.die(sandbox_id)

    def die(self, sandbox_id: str) -> bool:
        """End a sandbox the way it would by itself."""
        if self._running.pop(sandbox_id, None) is None:
            return False
        for listener in self._listeners:
            listener.put_nowait(sandbox_id)
        return True

    async def gone(self, sandbox_id: str) -> None:
        """Wait until a sandbox no longer runs."""
        if sandbox_id in self._running:
            async for ended in self.ended():
                if ended == sandbox_id:
                    return

    async def police(self, sandbox_id: str, egress: Egress) -> None:
        self._living(sandbox_id)
        self.policed.append((sandbox_id, egress))

    async def trust(self, sandbox_id: str, access_token: str | None) -> None:
        self._living(sandbox_id)
        self.trusting.append((sandbox_id, access_token))

    async def logs(self, sandbox_id: str) -> Sequence[LogLine]:
        return self.lines.get(sandbox_id, [])

    async def usage(self, sandbox_ids: Collection[str]) -> Mapping[str, Usage]:
        there = self._running.keys() & set(sandbox_ids) & self.usages.keys()
        return {sandbox_id: self.usages[sandbox_id] for sandbox_id in there}

    async def run(self, sandbox_id: str, command: Command, output: Output) -> int:
        self._living(sandbox_id)
        self.commands.append((sandbox_id, command))
        running = asyncio.ensure_future(self.program(self.specs[sandbox_id], command, output))
        over = asyncio.ensure_future(self.gone(sandbox_id))
        await asyncio.wait((running, over), return_when=asyncio.FIRST_COMPLETED)
        return await self._outcome(sandbox_id, running, over)

    async def _outcome(
        self, sandbox_id: str, running: asyncio.Future[int], over: asyncio.Future[None]
    ) -> int:
        for task in (running, over):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            return await running
        self._living(sandbox_id)
        raise AssertionError("neither has the command ended nor its sandbox")

    def _living(self, sandbox_id: str) -> None:
        if sandbox_id not in self._running:
            raise BermError(Code.UNAVAILABLE, "the sandbox has ended")

    async def begin(self, sandbox_id: str, command: Command) -> None:
        self._living(sandbox_id)
        self.commands.append((sandbox_id, command))

    async def commit(self, sandbox_id: str) -> Layer:
        self._living(sandbox_id)
        self.die(sandbox_id)
        return self._layer(f"layer-{sandbox_id}")

    async def copy(self, copying: Copying, output: Output) -> Layer:
        self.copies.append(copying)
        if self.refusal:
            raise self.refusal
        return self._layer(f"copy-{len(self.copies)}")

    def _layer(self, name: str) -> Layer:
        if not self.written:
            return Layer("", 0)
        self.layer_names.add(name)
        return Layer(name, self.written)

    async def settle(self) -> None:
        self.settled = set(self.layer_names)

    async def new_layer(self, name: str) -> Path:
        return self.layer_path(name)

    def layer_path(self, name: str) -> Path:
        return self._root / name

    def has_layer(self, name: str) -> bool:
        return name in self.layer_names or self.layer_path(name).exists()

    async def drop_layers(self, names: Collection[str]) -> None:
        self.dropped |= self.layer_names & set(names)
        self.layer_names -= set(names)

    def layers(self) -> Collection[str]:
        return frozenset(self.layer_names)

    async def receive(self, name: str, body: AsyncIterator[bytes]) -> None:
        self.received[name] = b"".join([piece async for piece in body])
        self.used[name] = time.time()

    def has_files(self, name: str) -> bool:
        return name in self.received

    async def drop_files(self, names: Collection[str]) -> None:
        for name in names:
            self.received.pop(name, None)
            self.used.pop(name, None)

    def files(self) -> Mapping[str, float]:
        return dict(self.used)

    async def departed(self) -> AsyncIterator[str]:
        raise NotImplementedError
        yield ""

    async def ended(self) -> AsyncIterator[str]:
        listener: asyncio.Queue[str] = asyncio.Queue()
        self._listeners.append(listener)
        while True:
            yield await listener.get()


class PoolNode(FakeNode):
    """Its images are in a real pool; all else is in memory."""

    def __init__(self, pool: Path) -> None:
        super().__init__()
        self.pool = pool
        (pool / "layers").mkdir(parents=True)

    async def new_layer(self, name: str) -> Path:
        return layers.prepare(self.pool, name)

    def layer_path(self, name: str) -> Path:
        return layers.path(self.pool, name)

    async def drop_layers(self, names: Collection[str]) -> None:
        await super().drop_layers(names)
        for name in names:
            await layers.drop(self.pool, name)

    def left(self) -> list[str]:
        return sorted(str(path.relative_to(self.pool)) for path in (self.pool / "layers").iterdir())


class FullNode(FakeNode):
    """Has no room for another sandbox."""

    async def create(self, spec: SandboxSpec) -> Running:
        raise BermError(Code.UNAVAILABLE, "no room for another sandbox")


class HeldNode(FakeNode):
    """Starts no sandbox until it is let go; `asked` is released for each that waits."""

    def __init__(self, root: Path = _NOWHERE) -> None:
        super().__init__(root)
        self.asked = asyncio.Semaphore(0)
        self._go = asyncio.Event()

    async def let_go(self) -> None:
        self._go.set()

    async def create(self, spec: SandboxSpec) -> Running:
        self.asked.release()
        await self._go.wait()
        return await super().create(spec)


class StillbornNode(FakeNode):
    """Its sandboxes die as soon as they have started."""

    async def create(self, spec: SandboxSpec) -> Running:
        running = await super().create(spec)
        self.die(spec.sandbox_id)
        return running


class UnkillableNode(FakeNode):
    """Fails to kill, until `mended`."""

    mended = False

    async def kill(self, sandbox_id: str) -> bool:
        if not self.mended:
            raise BermError(Code.UNAVAILABLE, "the launcher is gone")
        return await super().kill(sandbox_id)
