"""Sandboxes: every rule about what may happen to them."""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from berm import ids
from berm.config import Config
from berm.control import egress as rules
from berm.control import starting
from berm.control.ingress import Ingresses
from berm.control.limits import Limiter
from berm.control.networks import Networks
from berm.control.nodes import Nodes
from berm.control.pauses import Pauses, again
from berm.control.reconcile import Reconciler
from berm.control.starting import Program
from berm.control.states import lifetime, no_sandbox, now
from berm.control.tasks import Tasks
from berm.control.templates import Templates
from berm.control.volumes import Volumes
from berm.errors import BermError, Code
from berm.models import (
    EVERYWHERE,
    Boot,
    Egress,
    Endpoint,
    Ingress,
    Lifecycle,
    LogLine,
    Principal,
    Sandbox,
    SandboxSpec,
    State,
    Template,
    VolumeMount,
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
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    ingress: Ingress = field(default_factory=Ingress)
    private: bool = False
    """Whether its ports ask for a traffic token, which is made for it."""
    egress: Egress = field(default_factory=Egress)
    volume_mounts: tuple[VolumeMount, ...] = ()


@dataclass(frozen=True, slots=True)
class Copies:
    """What is the same for all forks of a sandbox."""

    origin: Sandbox
    layer: str
    """What the sandbox had written."""
    life: timedelta
    volume_mounts: tuple[VolumeMount, ...] = ()


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
        ingresses: Ingresses,
        limiter: Limiter,
        networks: Networks,
        volumes: Volumes,
        metrics: Metrics,
        nodes: Nodes,
    ) -> None:
        self._database = database
        self._node = node
        self._templates = templates
        self._reconciler = reconciler
        self._config = config
        self._pauses = pauses
        self._ingresses = ingresses
        self._limiter = limiter
        self._networks = networks
        self._volumes = volumes
        self._metrics = metrics
        self._nodes = nodes
        self._tasks = Tasks()
        self._answers: dict[tuple[str, str], asyncio.Task[tuple[Sandbox, str]]] = {}

    async def close(self) -> None:
        """Let what has been begun come to its end."""
        await self._tasks.drain()

    async def start(self) -> None:
        """Learn of the sandboxes that live already."""
        for sandbox_id, (ingress, token) in (await self._database.run(store.ingresses, now())).items():
            self._ingresses.add(sandbox_id, ingress, token)

    async def create(self, who: Principal, wanted: NewSandbox, once: Once | None = None) -> Sandbox:
        """Start a sandbox; it is recorded once it runs, and is undone if it cannot be recorded.

        With `once`, a repeated request is answered with the sandbox of the first. Raises what
        `Templates.resolve`, `Volumes.mounted`, `Node.create`, `starting.start` and `Nodes.admit` raise,
        BermError INVALID_ARGUMENT for a timeout out of range, RATE_LIMITED at a limit of the server or the
        team, KeyReusedError.
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
        self._nodes.admit()
        return await self._tasks.finish(self._copied(who, copies))

    async def _copied(self, who: Principal, copies: Copies) -> Sandbox:
        origin, sandbox_id = copies.origin, ids.sandbox_id()
        boot = replace(origin.boot, env={**origin.boot.env, _OWN_ID: sandbox_id})
        egress = self._networks.opened(origin.sandbox_id, origin.egress)
        private = origin.ingress.traffic_token is not None
        sandbox = replace(
            origin,
            sandbox_id=sandbox_id,
            state=State.RUNNING,
            access_token=ids.access_token() if origin.access_token else None,
            ingress=replace(origin.ingress, traffic_token=ids.traffic_token() if private else None),
            egress=self._networks.sealed(sandbox_id, egress),
            boot=boot,
            generation=0,
            keeps_memory=False,
        )
        spec = again(sandbox, self._networks.in_force(sandbox))
        return await self._launch(sandbox, replace(spec, written=copies.layer), copies.life)

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
        moment = now()
        end_at = moment + self.lifetime(who, seconds)
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
        life, moment = self.lifetime(who, seconds), now()
        found = await self._database.run(store.extend, who.team_id, sandbox_id, moment + life, moment)
        sandbox = _there(sandbox_id, found)
        if sandbox.state is State.RUNNING and not self._pauses.is_busy(sandbox_id):
            return sandbox, False
        resuming = self._pauses.resume(who, sandbox_id, life, memory=memory)
        sandbox, resumed = await self._tasks.finish(resuming)
        self._reconciler.expect(sandbox.end_at)
        return sandbox, resumed

    async def refresh(self, who: Principal, sandbox_id: str, seconds: int | None) -> None:
        """Let a running sandbox live for at least `seconds` from now. Raises BermError NOT_FOUND."""
        life, moment = self.lifetime(who, seconds), now()
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
        return self._limiter.starting

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

    def lifetime(self, who: Principal, seconds: int | None) -> timedelta:
        """How long a sandbox may live that is asked for like this. Raises BermError INVALID_ARGUMENT."""
        longest = self._limiter.longest(who.team_id)
        return lifetime(min(self._config.default_timeout, longest) if seconds is None else seconds, longest)

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
        self._nodes.admit()
        begun = time.monotonic()
        try:
            sandbox = await self._made(who, wanted, once)
        except BermError as error:
            self._metrics.sandbox_refused(error.code)
            raise
        self._metrics.sandbox_created(time.monotonic() - begun)
        return sandbox

    async def _made(self, who: Principal, wanted: NewSandbox, once: Once | None) -> Sandbox:
        life = self.lifetime(who, wanted.timeout)
        wanted = replace(wanted, egress=self._networks.checked(who.team_id, wanted.egress))
        template = await self._templates.resolve(who.team_id, wanted.template)
        spec = _spec(wanted, template)
        egress = self._networks.sealed(spec.sandbox_id, wanted.egress)
        sandbox = replace(_sandbox(who, wanted, template, spec), egress=egress)
        return await self._launch(sandbox, spec, life, once)

    async def _launch(
        self, sandbox: Sandbox, spec: SandboxSpec, life: timedelta, once: Once | None = None
    ) -> Sandbox:
        """Start a sandbox and record it as it is then; its time counts from when it is ready."""
        self._ingresses.add(sandbox.sandbox_id, sandbox.ingress, sandbox.access_token)
        try:
            async with self._volumes.mounted(sandbox.team_id, sandbox.volume_mounts) as mounts:
                await self._start(sandbox.team_id, replace(spec, mounts=mounts), sandbox.boot)
                moment = now()
                sandbox = replace(
                    sandbox, started_at=moment, end_at=moment + life, lifetime=int(life.total_seconds())
                )
                await self._record(sandbox, once)
        except BaseException:
            self._ingresses.forget(sandbox.sandbox_id)
            raise
        await self._settle(sandbox)
        return sandbox

    async def _record(self, sandbox: Sandbox, once: Once | None) -> None:
        try:
            await self._database.run(store.add, sandbox, once)
        except BaseException:
            self._reconciler.put_down(sandbox.sandbox_id)
            raise

    async def _start(self, team_id: str, spec: SandboxSpec, template: Program) -> None:
        with self._limiter.admit(team_id, spec.sandbox_id):
            await self._node.create(spec)
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
        self._ingresses.forget(sandbox_id)
        try:
            await self._node.kill(sandbox_id)
        except BermError:
            self._reconciler.put_down(sandbox_id)
            raise


def _spec(wanted: NewSandbox, template: Template) -> SandboxSpec:
    sandbox_id = ids.sandbox_id()
    egress = rules.closed(wanted.egress, wanted.allow_internet)
    return SandboxSpec(
        sandbox_id=sandbox_id,
        layers=template.layers[:-1] if template.is_snapshot else template.layers,
        written=template.layers[-1] if template.is_snapshot else "",
        resources=template.resources,
        allow_internet=EVERYWHERE not in egress.deny_out,
        env={**template.env, **_own_names(sandbox_id, template), **wanted.env},
        user=template.user,
        workdir=template.workdir,
        access_token=ids.access_token() if wanted.secure else None,
        egress=None if egress.plain else egress,
    )


def _ingress(wanted: NewSandbox) -> Ingress:
    return replace(wanted.ingress, traffic_token=ids.traffic_token() if wanted.private else None)


def _own_names(sandbox_id: str, template: Template) -> dict[str, str]:
    """What programs inside learn of their sandbox, as in E2B's."""
    return {
        "E2B_SANDBOX": "true",
        _OWN_ID: sandbox_id,
        "E2B_TEMPLATE_ID": template.template_id,
    }


def _sandbox(who: Principal, wanted: NewSandbox, template: Template, spec: SandboxSpec) -> Sandbox:
    moment = now()
    return Sandbox(
        sandbox_id=spec.sandbox_id,
        template_id=template.template_id,
        template_name=template.name,
        team_id=who.team_id,
        state=State.RUNNING,
        started_at=moment,
        end_at=moment,
        resources=spec.resources,
        metadata=wanted.metadata,
        access_token=spec.access_token,
        allow_internet=wanted.allow_internet,
        build_id=template.build_id,
        layers=spec.layers,
        boot=_boot(spec, template),
        lifecycle=wanted.lifecycle,
        ingress=_ingress(wanted),
        volume_mounts=wanted.volume_mounts,
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
