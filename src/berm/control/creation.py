"""Making sandboxes, of a template or as copies of another."""

import asyncio
import time
from collections.abc import Mapping
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
from berm.control.pauses import again
from berm.control.reconcile import Reconciler
from berm.control.starting import Program
from berm.control.states import lifetime, now
from berm.control.tasks import Tasks
from berm.control.templates import Templates
from berm.control.volumes import Volumes
from berm.errors import BermError, Code
from berm.models import (
    EVERYWHERE,
    Boot,
    Egress,
    Ingress,
    Lifecycle,
    Principal,
    Sandbox,
    SandboxSpec,
    State,
    Template,
    VolumeMount,
)
from berm.node.interface import Node
from berm.observability.metrics import Metrics
from berm.store import sandboxes as store
from berm.store.database import Database
from berm.store.sandboxes import Once

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


class Creator:
    """Starts sandboxes and records them: each is there whole, or not at all."""

    def __init__(
        self,
        database: Database,
        node: Node,
        templates: Templates,
        reconciler: Reconciler,
        config: Config,
        *,
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
        self._ingresses = ingresses
        self._limiter = limiter
        self._networks = networks
        self._volumes = volumes
        self._metrics = metrics
        self._nodes = nodes
        self._tasks = Tasks()
        self._answers: dict[tuple[str, str], asyncio.Task[tuple[Sandbox, str]]] = {}

    @property
    def starting(self) -> int:
        """How many are being started now."""
        return self._limiter.starting

    async def close(self) -> None:
        """Let what has been begun come to its end."""
        await self._tasks.drain()

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

    def lifetime(self, who: Principal, seconds: int | None) -> timedelta:
        """How long a sandbox may live that is asked for like this. Raises BermError INVALID_ARGUMENT."""
        longest = self._limiter.longest(who.team_id)
        return lifetime(min(self._config.default_timeout, longest) if seconds is None else seconds, longest)

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
        sandbox_id = ids.sandbox_id()
        checked = self._networks.checked(who.team_id, sandbox_id, wanted.egress)
        wanted = replace(wanted, egress=checked)
        template = await self._templates.resolve(who.team_id, wanted.template)
        spec = _spec(sandbox_id, wanted, template)
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


def _spec(sandbox_id: str, wanted: NewSandbox, template: Template) -> SandboxSpec:
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


def _ingress(wanted: NewSandbox) -> Ingress:
    return replace(wanted.ingress, traffic_token=ids.traffic_token() if wanted.private else None)


def _own_names(sandbox_id: str, template: Template) -> dict[str, str]:
    """What programs inside learn of their sandbox, as in E2B's."""
    return {
        "E2B_SANDBOX": "true",
        _OWN_ID: sandbox_id,
        "E2B_TEMPLATE_ID": template.template_id,
    }


def _boot(spec: SandboxSpec, template: Template) -> Boot:
    return Boot(
        env=spec.env,
        inherited=template.env,
        user=spec.user,
        workdir=spec.workdir,
        start_cmd=template.start_cmd,
        ready_cmd=template.ready_cmd,
    )
