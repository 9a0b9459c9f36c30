"""Stopping sandboxes where they are: to keep them so, or for the moment in which their files are taken."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any, Final

from berm.errors import BermError, Code
from berm.models import Layer, Paused, Running
from berm.node import layers
from berm.node.lives import Life, Lives, tell

_STOPPING: Final = (0.001, 0.005, 0.02, *[0.1] * 100)
"""Seconds between two looks whether all processes of a sandbox have stopped."""


class Pausing(Lives):
    """See `Node` in interface.py for what each method promises."""

    async def pause(self, sandbox_id: str, generation: int, *, memory: bool) -> None:
        life = self._alive(sandbox_id)
        self._shelve(sandbox_id, Paused(generation, has_processes=True))
        tell(self._departed, sandbox_id)
        try:
            await self._stop(life, "pause", generation=generation)
            if not memory:
                await self._end(life)
            await self.settle()
        except BaseException:
            await asyncio.shield(self._spawn(self._go_on(life)))
            raise

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

    async def drop_memory(self, sandbox_id: str) -> None:
        life = self._lives.get(sandbox_id)
        if life and sandbox_id in self._paused:
            await self._end(life)

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

    def _alive(self, sandbox_id: str) -> Life:
        if sandbox_id not in self._running:
            raise BermError(Code.NOT_FOUND, f"sandbox {sandbox_id} does not run")
        return self._lives[sandbox_id]

    async def _stop(self, life: Life, operation: str, **fields: Any) -> None:
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

    async def _go_on(self, life: Life) -> None:
        """Let a sandbox run that has not become paused; nothing happens if it has ended."""
        sandbox_id = life.running.sandbox_id
        if self._lives.get(sandbox_id) is not life or life.ending:
            return
        await self._ask("freeze", sandbox_id=sandbox_id, frozen=False)
        if self._lives.get(sandbox_id) is life:
            self._paused.pop(sandbox_id, None)
            self._running[sandbox_id] = life.running
