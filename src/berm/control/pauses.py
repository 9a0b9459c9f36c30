"""Pausing sandboxes and letting them go on: one of these at a time for each sandbox.

The node's state is the truth, as it outlives this process: what is recorded follows it, at once or when the
server starts again. Each pause of a sandbox has a number, its generation; one that is older than the last is
never resumed.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Final

from berm.config import Config
from berm.control import starting
from berm.control.limits import Limiter
from berm.control.locks import Locks
from berm.control.networks import Networks
from berm.control.states import no_sandbox, now
from berm.control.tasks import Tasks, insist
from berm.control.volumes import Volumes
from berm.errors import BermError, Code
from berm.models import EVERYWHERE, Egress, Paused, Principal, Sandbox, SandboxSpec, State
from berm.node.interface import Node
from berm.store import sandboxes as store
from berm.store.database import Database

_AWAKE: Final = timedelta(minutes=5)
"""The least time that a sandbox is given which was woken by a request to one of its ports."""


class Pauses:
    """A team sees its own sandboxes only."""

    def __init__(
        self,
        database: Database,
        node: Node,
        config: Config,
        *,
        limiter: Limiter,
        networks: Networks,
        volumes: Volumes,
    ) -> None:
        self._database = database
        self._node = node
        self._limiter = limiter
        self._networks = networks
        self._volumes = volumes
        self._config = config
        self._locks = Locks()
        self._dormant: set[str] = set()
        self._tasks = Tasks()

    async def start(self) -> None:
        """Learn which paused sandboxes wake up by themselves."""
        self._dormant |= await self._database.run(store.dormant)

    async def close(self) -> None:
        """Stop; what is not recorded by now is when the server starts again."""
        await self._tasks.cancel()

    async def pause(self, who: Principal, sandbox_id: str, *, memory: bool, only_well: bool = False) -> None:
        """Stop a sandbox and keep its files, and with `memory` its processes.

        Raises what `Node.pause` raises, and BermError NOT_FOUND, CONFLICT if it is paused already; with
        `only_well` UNAVAILABLE if its agent does not answer, and it goes on.
        """
        async with self.alone(sandbox_id):
            sandbox = await self._database.run(store.find, who.team_id, sandbox_id, now())
            if sandbox is None:
                raise no_sandbox(sandbox_id)
            if sandbox.state is State.PAUSED:
                raise BermError(Code.CONFLICT, f"sandbox {sandbox_id!r} is paused already")
            if only_well and not await self._node.answers(sandbox_id):
                raise BermError(
                    Code.UNAVAILABLE,
                    f"the agent of sandbox {sandbox_id} does not answer, so it was not paused",
                    "it may be busy; leave out requireHealthyGuest to pause it as it is",
                )
            await self._pause(sandbox, memory=memory)

    async def expire(self, sandbox_id: str) -> None:
        """Pause a sandbox whose time is over, unless it has got more meanwhile, or has ended."""
        async with self.alone(sandbox_id):
            sandbox = await self._database.run(store.find_any, sandbox_id)
            if sandbox and sandbox.state is State.RUNNING and sandbox.end_at <= now():
                await self._pause(sandbox, memory=sandbox.lifecycle.keep_memory)

    async def resume(
        self, who: Principal, sandbox_id: str, life: timedelta, *, memory: bool = True
    ) -> tuple[Sandbox, bool]:
        """A sandbox that runs for at least `life` from now, and whether it was paused.

        Without `memory` a paused one begins anew from its files, which it also does if nothing else was kept.
        Raises BermError NOT_FOUND, CONFLICT if its files are not those of its last pause, and what
        `Limiter.admit`, `Node.create` and `starting.start` raise; after each it is paused as before.
        """
        async with self.alone(sandbox_id):
            moment = now()
            found = await self._database.run(store.extend, who.team_id, sandbox_id, moment + life, moment)
            if found is None:
                raise no_sandbox(sandbox_id)
            if found.state is State.RUNNING:
                if sandbox_id not in self._node.paused():
                    return found, False
                found = await self._pause(found, memory=True)
            return await self._resume(found, life, memory=memory), True

    async def wake(self, sandbox_id: str) -> Sandbox | None:
        """Resume a sandbox for a request to one of its ports; None if that does not wake it."""
        if sandbox_id not in self._dormant:
            return None
        async with self.alone(sandbox_id):
            found = await self._database.run(store.find_any, sandbox_id)
            if found is None or found.state is State.RUNNING or sandbox_id not in self._dormant:
                return found
            longest = timedelta(seconds=self._limiter.longest(found.team_id))
            life = min(max(_AWAKE, timedelta(seconds=found.lifetime)), longest)
            return await self._resume(found, life, memory=True)

    def forget(self, sandbox_id: str) -> None:
        """It has been ended: nothing wakes it."""
        self._dormant.discard(sandbox_id)

    def alone(self, sandbox_id: str) -> asyncio.Lock:
        """Keeps a sandbox from being paused or resumed meanwhile."""
        return self._locks.of(sandbox_id)

    async def _pause(self, sandbox: Sandbox, *, memory: bool) -> Sandbox:
        """The sandbox as it is recorded then."""
        sandbox_id = sandbox.sandbox_id
        # It is so already if this could not be recorded the last time.
        if sandbox_id not in self._node.paused():
            await self._node.pause(sandbox_id, sandbox.generation + 1, memory=memory)
        paused = self._node.paused().get(sandbox_id)
        recorded = await self._record(sandbox, paused) if paused else None
        if recorded is None:
            await self._node.kill(sandbox_id)
            raise no_sandbox(sandbox_id)
        if recorded.keeps_memory and recorded.lifecycle.auto_resume:
            self._dormant.add(sandbox_id)
        return recorded

    async def _record(self, sandbox: Sandbox, paused: Paused) -> Sandbox | None:
        """None if it has been ended meanwhile. What cannot be recorded is not left paused."""

        async def noted() -> Sandbox | None:
            memory = paused.has_processes
            return await self._database.run(
                store.pause, sandbox.sandbox_id, paused.generation, now(), keeps_memory=memory
            )

        try:
            return await noted()
        except BaseException:
            # Else it would be killed at its end, as one that runs: its processes go on, or it is tried again.
            if paused.has_processes:
                await self._node.resume(sandbox.sandbox_id, paused.generation)
            else:
                self._tasks.spawn(insist(noted, f"record the pause of {sandbox.sandbox_id}"))
            raise

    async def _resume(self, sandbox: Sandbox, life: timedelta, *, memory: bool) -> Sandbox:
        paused = self._node.paused().get(sandbox.sandbox_id)
        if paused and paused.generation > sandbox.generation:  # that could not be recorded
            sandbox = await self._pause(sandbox, memory=memory)
        # It runs if that could not be recorded the last time.
        if sandbox.sandbox_id not in self._node.running():
            await self._let_go(sandbox, memory=memory)
        self._dormant.discard(sandbox.sandbox_id)
        resumed = await self._database.run(store.resume, sandbox.sandbox_id, now() + life)
        if resumed is None:
            await self._node.kill(sandbox.sandbox_id)
            raise no_sandbox(sandbox.sandbox_id)
        return resumed

    async def _let_go(self, sandbox: Sandbox, *, memory: bool) -> None:
        paused = self._node.paused().get(sandbox.sandbox_id)
        egress = self._networks.in_force(sandbox)
        with self._limiter.admit(sandbox.team_id, sandbox.sandbox_id, anew=False):
            if paused and paused.has_processes and memory:
                await self._go_on(sandbox, egress)
            else:
                await self._boot(sandbox, egress)

    async def _go_on(self, sandbox: Sandbox, egress: Egress) -> None:
        await self._node.resume(sandbox.sandbox_id, sandbox.generation)
        if egress.plain:
            return
        try:
            # The kernel has kept the rules; a server that came meanwhile has yet to serve what needs one.
            await self._node.police(sandbox.sandbox_id, egress)
            if egress.rules:
                # Another authority may have been made meanwhile.
                await self._node.trust(sandbox.sandbox_id, sandbox.access_token)
        except BaseException:
            again_paused = self._node.pause(sandbox.sandbox_id, sandbox.generation, memory=True)
            await asyncio.shield(asyncio.ensure_future(again_paused))
            raise

    async def _boot(self, sandbox: Sandbox, egress: Egress) -> None:
        await self._node.drop_memory(sandbox.sandbox_id)
        spec = again(sandbox, egress)
        async with self._volumes.mounted(sandbox.team_id, sandbox.volume_mounts) as mounts:
            await self._node.create(replace(spec, mounts=mounts))
        try:
            await starting.start(self._node, sandbox.sandbox_id, sandbox.boot, self._config.ready_timeout)
        except BaseException:
            # It has been resumed, though not for long: what it has written by now is its last state.
            await asyncio.shield(asyncio.ensure_future(self._pause(sandbox, memory=False)))
            raise


def again(sandbox: Sandbox, egress: Egress) -> SandboxSpec:
    """What a sandbox is started with that was paused without its processes; `egress` is what is in force."""
    return SandboxSpec(
        sandbox_id=sandbox.sandbox_id,
        layers=sandbox.layers,
        resources=sandbox.resources,
        allow_internet=EVERYWHERE not in egress.deny_out,
        egress=None if egress.plain else egress,
        env=sandbox.boot.env,
        user=sandbox.boot.user,
        workdir=sandbox.boot.workdir,
        access_token=sandbox.access_token,
        generation=sandbox.generation,
    )
