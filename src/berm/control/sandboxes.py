"""Sandboxes: every rule about what may happen to them."""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from berm import ids
from berm.config import Config
from berm.control import starting
from berm.control.links import Links
from berm.control.pauses import Pauses, again
from berm.control.reconcile import Reconciler
from berm.control.starting import Program
from berm.control.states import lifetime, no_sandbox, now
from berm.control.tasks import Tasks
from berm.control.templates import Templates
from berm.errors import BermError, Code
from berm.models import (
    AGENT_PORT,
    Boot,
    Endpoint,
    Lifecycle,
    LogLine,
    Principal,
    Sandbox,
    SandboxSpec,
    State,
    Template,
)
from berm.node.interface import Node
from berm.observability.metrics import Metrics
from berm.store import paging
from berm.store import sandboxes as store
from berm.store.database import Database
from berm.store.sandboxes import Filter, Listing, Once

_OWN_ID = "E2B_SANDBOX_ID"


class KeyReusedError(BermError):
    """An idempotency key came back with another request."""


@dataclass(frozen=True, slots=True)
class NewSandbox:
    """What a caller asks for; None leaves the choice to the server."""

    template: str
    timeout: int | None
    metadata: Mapping[str, str]
    env: Mapping[str, str]
    secure: bool
    allow_internet: bool | None
    lifecycle: Lifecycle


@dataclass(frozen=True, slots=True)
class Copies:
    """What is the same for all forks of a sandbox."""

    origin: Sandbox
    layer: str
    """What the sandbox had written."""
    life: timedelta


class Sandboxes:
    """A team sees its own sandboxes only: those of others are NOT_FOUND, like those that have ended."""

    def __init__(
        self,
        database: Database,
        node: Node,
        templates: Templates,
        reconciler: Reconciler,
        config: Config,
        *,
        pauses: Pauses,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._node = node
        self._templates = templates
        self._reconciler = reconciler
        self._config = config
        self._pauses = pauses
        self._metrics = metrics
        self._links = Links()
        self._tasks = Tasks()
        self._starting = 0
        self._answers: dict[tuple[str, str], asyncio.Task[tuple[Sandbox, str]]] = {}

    async def close(self) -> None:
        """Let what has been begun come to its end."""
        await self._tasks.drain()

    async def start(self) -> None:
        """Learn of the sandboxes that live already."""
        for sandbox_id, token in (await self._database.run(store.tokens, now())).items():
            self._links.add(sandbox_id, token)

    async def create(self, who: Principal, wanted: NewSandbox, once: Once | None = None) -> Sandbox:
        """Start a sandbox; it is recorded once it runs, and is undone if it cannot be recorded.

        With `once`, a repeated request is answered with the sandbox of the first. Raises what
        `Templates.resolve`, `Node.create` and `starting.start` raise, BermError INVALID_ARGUMENT for a
        timeout out of range, RATE_LIMITED at the limit of sandboxes, KeyReusedError.
        """
        if once is None:
            return await self._tasks.finish(self._make(who, wanted, None))
        sandbox, digest = await asyncio.shield(self._answer(who, wanted, once))
        if digest != once.digest:
            raise KeyReusedError(
                Code.CONFLICT,
                f"Idempotency-Key {once.key!r} was used for another request",
                "use a new key for each sandbox",
            )
        return sandbox

    async def copy(self, who: Principal, copies: Copies) -> Sandbox:
        """Start a sandbox with what another has written, its environment, metadata and all it asked for.

        Raises what `create` raises.
        """
        return await self._tasks.finish(self._copied(who, copies))

    async def _copied(self, who: Principal, copies: Copies) -> Sandbox:
        origin, sandbox_id = copies.origin, ids.sandbox_id()
        names = {name: value for name, value in origin.boot.env.items() if name != _OWN_ID}
        boot = replace(origin.boot, env={**names, _OWN_ID: sandbox_id})
        started_at = now()
        sandbox = replace(
            origin,
            sandbox_id=sandbox_id,
            state=State.RUNNING,
            started_at=started_at,
            end_at=started_at + copies.life,
            lifetime=int(copies.life.total_seconds()),
            access_token=ids.access_token() if origin.access_token else None,
            boot=boot,
            generation=0,
            keeps_memory=False,
        )
        await self._start(replace(again(sandbox), written=copies.layer), boot)
        return await self._record(sandbox, None)

    async def get(self, who: Principal, sandbox_id: str) -> Sandbox:
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
        moment = now()
        end_at = moment + self.lifetime(seconds)
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
        life, moment = self.lifetime(seconds), now()
        found = await self._database.run(store.extend, who.team_id, sandbox_id, moment + life, moment)
        sandbox = _there(sandbox_id, found)
        if sandbox.state is State.RUNNING and not self._pauses.is_busy(sandbox_id):
            return sandbox, False
        resuming = self._pauses.resume(who, sandbox_id, life, memory=memory)
        sandbox, resumed = await self._tasks.finish(resuming)
        self._awake(sandbox)
        return sandbox, resumed

    async def refresh(self, who: Principal, sandbox_id: str, seconds: int | None) -> None:
        """Let a running sandbox live for at least `seconds` from now. Raises BermError NOT_FOUND."""
        life, moment = self.lifetime(seconds), now()
        found = await self._database.run(store.extend, who.team_id, sandbox_id, moment + life, moment)
        _running(_there(sandbox_id, found))

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

    async def wake(self, sandbox_id: str, port: int, token: str | None) -> bool:
        """Resume a sandbox for a request to one of its ports; False if it does not wake up by that.

        For its agent only who has its access token wakes it up.
        """
        if not self._pauses.wakes(sandbox_id):
            return False
        if port == AGENT_PORT and not self._pauses.admits(sandbox_id, token):
            return False
        sandbox = await self._tasks.finish(self._pauses.wake(sandbox_id))
        if sandbox:
            self._awake(sandbox)
        return sandbox is not None

    def _awake(self, sandbox: Sandbox) -> None:
        self._links.add(sandbox.sandbox_id, sandbox.access_token)
        self._reconciler.expect(sandbox.end_at)

    async def logs(self, who: Principal, sandbox_id: str) -> Sequence[LogLine]:
        """A sandbox's log, oldest first. Its content is the sandbox's and not to be trusted."""
        await self.get(who, sandbox_id)
        return await self._node.logs(sandbox_id)

    def endpoint(self, sandbox_id: str, port: int) -> Endpoint | None:
        """Where a port of a running sandbox is reached; None if it does not run. Asks memory only."""
        running = self._node.running().get(sandbox_id)
        return Endpoint(running.address, port) if running else None

    def signer(self, method: str, query: Mapping[str, str]) -> str | None:
        """The running sandbox whose token signed a link to a file, None if none did. Asks memory only."""
        return self._links.signer(method, query, self._node.running())

    def lifetime(self, seconds: int | None) -> timedelta:
        """How long a sandbox may live that is asked for like this. Raises BermError INVALID_ARGUMENT."""
        wanted = self._config.default_timeout if seconds is None else seconds
        return lifetime(wanted, self._config.max_timeout)

    def _answer(self, who: Principal, wanted: NewSandbox, once: Once) -> asyncio.Task[tuple[Sandbox, str]]:
        """The one task that answers all who come with the same idempotency key."""
        key = (who.team_id, once.key)
        if key not in self._answers:
            self._answers[key] = self._tasks.begin(self._make_once(who, wanted, once))
            self._answers[key].add_done_callback(lambda _: self._answers.pop(key))
        return self._answers[key]

    async def _make_once(self, who: Principal, wanted: NewSandbox, once: Once) -> tuple[Sandbox, str]:
        made = await self._database.run(store.find_once, who.team_id, once.key)
        return made or (await self._make(who, wanted, once), once.digest)

    async def _make(self, who: Principal, wanted: NewSandbox, once: Once | None) -> Sandbox:
        begun = time.monotonic()
        try:
            sandbox = await self._made(who, wanted, once)
        except BermError as error:
            self._metrics.sandbox_refused(error.code)
            raise
        self._metrics.sandbox_created(time.monotonic() - begun)
        return sandbox

    async def _made(self, who: Principal, wanted: NewSandbox, once: Once | None) -> Sandbox:
        life = self.lifetime(wanted.timeout)
        template = await self._templates.resolve(who.team_id, wanted.template)
        spec = _spec(wanted, template)
        await self._start(spec, template)
        return await self._record(_sandbox(who, wanted, template, spec, life), once)

    async def _record(self, sandbox: Sandbox, once: Once | None) -> Sandbox:
        try:
            await self._database.run(store.add, sandbox, once)
        except BaseException:
            self._reconciler.put_down(sandbox.sandbox_id)
            raise
        self._links.add(sandbox.sandbox_id, sandbox.access_token)
        await self._settle(sandbox)
        return sandbox

    async def _start(self, spec: SandboxSpec, template: Program) -> None:
        if len(self._node.running()) + self._starting >= self._config.max_sandboxes:
            raise BermError(
                Code.RATE_LIMITED,
                f"{self._config.max_sandboxes} sandboxes are running, which is the limit",
                "kill one, or raise BERM_MAX_SANDBOXES",
            )
        self._starting += 1
        try:
            await self._node.create(spec)
        finally:
            self._starting -= 1
        if template.start_cmd or template.ready_cmd:
            await self._start_up(spec.sandbox_id, template)

    async def _start_up(self, sandbox_id: str, template: Program) -> None:
        try:
            await starting.start(self._node, sandbox_id, template, self._config.ready_timeout)
        except BaseException:
            self._reconciler.put_down(sandbox_id)
            raise

    async def _settle(self, sandbox: Sandbox) -> None:
        self._reconciler.expect(sandbox.end_at)
        # If it died before it was on record, the news of its end found nothing to end.
        if sandbox.sandbox_id not in self._node.running():
            await self._database.run(store.end, sandbox.sandbox_id, now())

    async def _kill(self, who: Principal, sandbox_id: str) -> None:
        if not await self._database.run(store.end_own, who.team_id, sandbox_id, now()):
            raise no_sandbox(sandbox_id)
        self._pauses.forget(sandbox_id)
        try:
            await self._node.kill(sandbox_id)
        except BermError:
            self._reconciler.put_down(sandbox_id)
            raise


def _spec(wanted: NewSandbox, template: Template) -> SandboxSpec:
    sandbox_id = ids.sandbox_id()
    return SandboxSpec(
        sandbox_id=sandbox_id,
        layers=template.layers[:-1] if template.is_snapshot else template.layers,
        written=template.layers[-1] if template.is_snapshot else "",
        resources=template.resources,
        allow_internet=wanted.allow_internet is not False,
        env={**template.env, **_own_names(sandbox_id, template), **wanted.env},
        user=template.user,
        workdir=template.workdir,
        access_token=ids.access_token() if wanted.secure else None,
    )


def _own_names(sandbox_id: str, template: Template) -> dict[str, str]:
    """What programs inside learn of their sandbox, as in E2B's."""
    return {
        "E2B_SANDBOX": "true",
        _OWN_ID: sandbox_id,
        "E2B_TEMPLATE_ID": template.template_id,
    }


def _sandbox(
    who: Principal, wanted: NewSandbox, template: Template, spec: SandboxSpec, life: timedelta
) -> Sandbox:
    started_at = now()
    return Sandbox(
        sandbox_id=spec.sandbox_id,
        template_id=template.template_id,
        template_name=template.name,
        team_id=who.team_id,
        state=State.RUNNING,
        started_at=started_at,
        end_at=started_at + life,
        resources=spec.resources,
        metadata=wanted.metadata,
        access_token=spec.access_token,
        allow_internet=wanted.allow_internet,
        build_id=template.build_id,
        layers=spec.layers,
        boot=_boot(spec, template),
        lifecycle=wanted.lifecycle,
        lifetime=int(life.total_seconds()),
    )


def _boot(spec: SandboxSpec, template: Template) -> Boot:
    return Boot(
        env=spec.env,
        inherited=template.env,
        user=spec.user,
        workdir=spec.workdir,
        start_cmd=template.start_cmd,
        ready_cmd=template.ready_cmd,
    )


def _running(sandbox: Sandbox) -> None:
    if sandbox.state is not State.RUNNING:
        raise BermError(Code.NOT_FOUND, f"sandbox {sandbox.sandbox_id} is paused", "connect to it first")


def _there(sandbox_id: str, found: Sandbox | None) -> Sandbox:
    if found is None:
        raise no_sandbox(sandbox_id)
    return found
