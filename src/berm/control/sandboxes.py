"""Sandboxes: every rule about what may happen to them."""

from collections.abc import Collection, Mapping, Sequence

from berm.control.creation import Creator, NewSandbox
from berm.control.ingress import Ingresses
from berm.control.networks import Networks
from berm.control.pauses import Pauses
from berm.control.reconcile import Reconciler
from berm.control.states import no_sandbox, now
from berm.control.tasks import Tasks
from berm.errors import BermError, Code
from berm.models import (
    Endpoint,
    Ingress,
    LogLine,
    Principal,
    Sandbox,
    State,
)
from berm.node.interface import Node
from berm.store import paging
from berm.store import sandboxes as store
from berm.store.database import Database
from berm.store.sandboxes import Filter, Listing, Once


class Sandboxes:
    """A team sees its own sandboxes only: those of others are NOT_FOUND, like those that have ended."""

    def __init__(
        self,
        database: Database,
        node: Node,
        creator: Creator,
        reconciler: Reconciler,
        *,
        pauses: Pauses,
        ingresses: Ingresses,
        networks: Networks,
    ) -> None:
        self._database = database
        self._node = node
        self._creator = creator
        self._reconciler = reconciler
        self._pauses = pauses
        self._ingresses = ingresses
        self._networks = networks
        self._tasks = Tasks()

    async def close(self) -> None:
        """Let what has been begun come to its end."""
        await self._creator.close()
        await self._tasks.drain()

    async def start(self) -> None:
        """Learn of the sandboxes that live already."""
        for sandbox_id, (ingress, token) in (await self._database.run(store.ingresses, now())).items():
            self._ingresses.add(sandbox_id, ingress, token)

    async def create(self, who: Principal, wanted: NewSandbox, once: Once | None = None) -> Sandbox:
        """See `Creator.create`."""
        return await self._creator.create(who, wanted, once)

    async def get(self, who: Principal, sandbox_id: str) -> Sandbox:
        """As its owner may see it."""
        return self._networks.shown(await self.record(who, sandbox_id))

    async def record(self, who: Principal, sandbox_id: str) -> Sandbox:
        """As it is recorded, with what is secret sealed. Raises BermError NOT_FOUND."""
        found = await self._database.run(store.find, who.team_id, sandbox_id, now())
        return _there(sandbox_id, found)

    async def get_all(self, who: Principal, sandbox_ids: Collection[str]) -> Sequence[Sandbox]:
        """Those of these sandboxes that are the team's."""
        return await self._database.run(store.find_all, who.team_id, sandbox_ids, now())

    async def list(self, who: Principal, wanted: Filter, page: paging.Slice) -> Listing:
        """The live sandboxes of a team, by start time."""
        return await self._database.run(store.listing, who.team_id, wanted, page, now())

    async def kill(self, who: Principal, sandbox_id: str) -> None:
        """End a sandbox now; of two callers at once one gets NOT_FOUND."""
        await self._tasks.finish(self._kill(who, sandbox_id))

    async def set_timeout(self, who: Principal, sandbox_id: str, seconds: int) -> None:
        """Let a running sandbox end in `seconds` from now, be that earlier or later; 0 ends it.

        Raises BermError NOT_FOUND, also for a paused one, which has no end.
        """
        life = self._creator.lifetime(who, seconds)
        async with self._pauses.alone(sandbox_id):
            moment = now()
            end_at = moment + life
            if not await self._database.run(store.set_end, who.team_id, sandbox_id, end_at, moment):
                _running(await self.get(who, sandbox_id))
                raise no_sandbox(sandbox_id)
        self._reconciler.expect(end_at)

    async def connect(
        self, who: Principal, sandbox_id: str, seconds: int | None, *, memory: bool = True
    ) -> tuple[Sandbox, bool]:
        """Let a sandbox run for at least `seconds` from now, and whether it had to be resumed for that.

        One that runs is never shortened. Raises what `Pauses.resume` raises.
        """
        life = self._creator.lifetime(who, seconds)
        resuming = self._pauses.resume(who, sandbox_id, life, memory=memory)
        sandbox, resumed = await self._tasks.finish(resuming)
        self._reconciler.expect(sandbox.end_at)
        return sandbox, resumed

    async def refresh(self, who: Principal, sandbox_id: str, seconds: int | None) -> None:
        """Let a running sandbox live for at least `seconds` from now. Raises BermError NOT_FOUND."""
        life = self._creator.lifetime(who, seconds)
        async with self._pauses.alone(sandbox_id):
            moment = now()
            found = await self._database.run(store.extend, who.team_id, sandbox_id, moment + life, moment)
            sandbox = _there(sandbox_id, found)
            _running(sandbox)
        self._reconciler.expect(sandbox.end_at)

    async def pause(
        self, who: Principal, sandbox_id: str, *, memory: bool = True, only_well: bool = False
    ) -> None:
        """See `Pauses.pause`."""
        await self._tasks.finish(self._pauses.pause(who, sandbox_id, memory=memory, only_well=only_well))

    async def resume(self, who: Principal, sandbox_id: str, seconds: int | None) -> Sandbox:
        """Let a paused sandbox go on for `seconds`. Raises what `connect` raises, CONFLICT if it runs."""
        sandbox, resumed = await self.connect(who, sandbox_id, seconds)
        if not resumed:
            raise BermError(Code.CONFLICT, f"sandbox {sandbox_id} runs already")
        return sandbox

    async def wake(self, sandbox_id: str) -> State | None:
        """Resume a sandbox for a request to one of its ports, if it is to wake up by that; its state then.

        None if there is no such sandbox. Raises what `Pauses.resume` raises.
        """
        sandbox = await self._tasks.finish(self._pauses.wake(sandbox_id))
        if sandbox is None:
            return State.PAUSED if sandbox_id in self._node.paused() else None
        self._reconciler.expect(sandbox.end_at)
        return sandbox.state

    async def logs(self, who: Principal, sandbox_id: str) -> Sequence[LogLine]:
        """A sandbox's log, oldest first. Its content is the sandbox's and not to be trusted.

        For a day it may also be one that has ended; how much there is of its log is up to the node.
        """
        if not await self._database.run(store.is_known, who.team_id, sandbox_id):
            raise no_sandbox(sandbox_id)
        return await self._node.logs(sandbox_id)

    @property
    def starting(self) -> int:
        """How many are being started now."""
        return self._creator.starting

    def endpoint(self, sandbox_id: str, port: int) -> Endpoint | None:
        """Where a port of a running sandbox is reached; None if it does not run. Asks memory only."""
        running, ingress = self._node.running().get(sandbox_id), self._ingresses.of(sandbox_id)
        if running is None or ingress is None:
            return None
        return Endpoint(running.address, port, tls=port in ingress.https_ports)

    def ingress(self, sandbox_id: str) -> Ingress | None:
        """How requests reach a live sandbox; None if there is none. Asks memory only."""
        return self._ingresses.of(sandbox_id)

    def is_access_token(self, sandbox_id: str, given: str) -> bool:
        """Whether the agent of a live sandbox would take this token. Asks memory only."""
        return self._ingresses.links.takes(sandbox_id, given)

    def signer(self, method: str, query: Mapping[str, str]) -> str | None:
        """The running sandbox whose token signed a link to a file, None if none did. Asks memory only."""
        return self._ingresses.links.signer(method, query, self._node.running())

    async def _kill(self, who: Principal, sandbox_id: str) -> None:
        if not await self._database.run(store.end_own, who.team_id, sandbox_id, now()):
            raise no_sandbox(sandbox_id)
        self._pauses.forget(sandbox_id)
        self._ingresses.forget(sandbox_id)
        try:
            await self._node.kill(sandbox_id)
        except BaseException:
            self._reconciler.put_down(sandbox_id)
            raise


def _running(sandbox: Sandbox) -> None:
    if sandbox.state is not State.RUNNING:
        raise BermError(Code.NOT_FOUND, f"sandbox {sandbox.sandbox_id} is paused", "connect to it first")


def _there(sandbox_id: str, found: Sandbox | None) -> Sandbox:
    if found is None:
        raise no_sandbox(sandbox_id)
    return found
