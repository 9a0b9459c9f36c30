"""Stand-ins for parts that need a whole machine, named for what they do."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

from berm.errors import BermError, Code
from berm.models import LogLine, Running, SandboxSpec


class FakeNode:
    """A node in memory that keeps the promises of `berm.node.interface.Node`; its sandboxes do nothing."""

    def __init__(self) -> None:
        self.specs: dict[str, SandboxSpec] = {}
        self.lines: dict[str, list[LogLine]] = {}
        self._running: dict[str, Running] = {}
        self._listeners: list[asyncio.Queue[str]] = []

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def running(self) -> Mapping[str, Running]:
        return self._running

    async def create(self, spec: SandboxSpec) -> Running:
        if spec.sandbox_id in self._running:
            raise BermError(Code.CONFLICT, f"{spec.sandbox_id} is taken")
        self.specs[spec.sandbox_id] = spec
        running = Running(spec.sandbox_id, f"10.213.0.{len(self.specs) % 250 + 2}")
        self._running[spec.sandbox_id] = running
        return running

    async def kill(self, sandbox_id: str) -> bool:
        return self.die(sandbox_id)

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

    async def logs(self, sandbox_id: str) -> Sequence[LogLine]:
        return self.lines.get(sandbox_id, [])

    async def run(self, sandbox_id: str, command: Sequence[str], output: Callable[[str], None]) -> int:
        output(" ".join(command))
        return 0

    async def commit(self, sandbox_id: str) -> str:
        self.die(sandbox_id)
        return f"layer-{sandbox_id}"

    def layer_path(self, name: str) -> Path:
        return Path("/nonexistent") / name

    async def ended(self) -> AsyncIterator[str]:
        listener: asyncio.Queue[str] = asyncio.Queue()
        self._listeners.append(listener)
        while True:
            yield await listener.get()


class FullNode(FakeNode):
    """Has no room for another sandbox."""

    async def create(self, spec: SandboxSpec) -> Running:
        raise BermError(Code.UNAVAILABLE, "no room for another sandbox")


class HeldNode(FakeNode):
    """Starts no sandbox until it is let go; `asked` is released for each that waits."""

    def __init__(self) -> None:
        super().__init__()
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
