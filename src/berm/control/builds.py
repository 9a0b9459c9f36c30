"""Builds of templates: every rule about how one goes, from what is asked for to what is tagged."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from berm import ids
from berm.config import Config
from berm.control import buildlog, starting
from berm.control.building import BaseError, Building, PlanError, Product
from berm.control.buildlog import BuildLog
from berm.control.causes import ENDS, reason
from berm.control.images import Images
from berm.control.news import News
from berm.control.preview import Preview, Previewer
from berm.control.provision import ACCOUNT
from berm.control.steps import Ask, files_name
from berm.control.tasks import Tasks
from berm.control.templates import Templates
from berm.control.workshop import Hold, Workshop
from berm.errors import BermError, Code
from berm.images.registry import Login
from berm.models import Principal, SandboxSpec, Template
from berm.node.interface import Node
from berm.store.builds import Build, BuildLine, Cause, Status
from berm.templates import e2b
from berm.templates.base import ResolvedImage
from berm.templates.plan import Base, Plan, Settings


@dataclass(frozen=True, slots=True)
class StepsRequest:
    """E2B's form of a build: steps on an image or on a template."""

    steps: Sequence[e2b.BuildStep]
    from_image: str = ""
    from_template: str = ""
    login: Login | None = None
    force: bool = False
    start_cmd: str = ""
    ready_cmd: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """A build that goes on: what it is asked for, and how."""

    who: Principal
    build: Build
    trial: bool = False
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    login: Login | None = None
    seconds: float = 0.0


Source = Callable[[BuildLog], Awaitable[Plan]]
"""Makes the plan, when the build has begun: it may need the configuration of an image."""


class Builds:
    """Builds go on by themselves: whoever asked may go away and come back."""

    def __init__(
        self, node: Node, templates: Templates, images: Images, workshop: Workshop, config: Config
    ) -> None:
        self._node = node
        self._templates = templates
        self._images = images
        self._workshop = workshop
        self._config = config
        self._tasks = Tasks()
        self._news = News()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._room = asyncio.Semaphore(config.max_builds)
        self._cancelled: set[str] = set()

    async def start(self) -> None:
        """Remove what earlier builds left that nobody needs."""
        self._tasks.spawn(self.collect())

    async def close(self) -> None:
        """Break off what is being built: it is recorded as interrupted, and its steps stay in the cache."""
        await self._tasks.cancel()
        await self._images.close()

    async def images(
        self, who: Principal, references: Sequence[str], login: Login | None = None
    ) -> list[ResolvedImage | BermError]:
        """What image references mean now, or why that cannot be said."""
        return await self._images.resolve(who.team_id, references, login)

    async def preview(self, who: Principal, name: str, plan: Plan) -> Preview:
        """What a build of this plan would do; changes nothing."""
        return await Previewer(self._workshop, self._images, self._templates).preview(who.team_id, name, plan)

    async def submit(
        self,
        who: Principal,
        build: Build,
        plan: Plan,
        secrets: Mapping[str, bytes],
        *,
        trial: bool = False,
        seconds: float | None = None,
    ) -> None:
        """Begin a build in the background. Raises BermError CONFLICT if it has begun already."""
        order = Order(who, build, trial, secrets, seconds=self._limit(seconds))
        await self._begin(order, lambda _log: _ready(plan))

    async def submit_steps(self, who: Principal, build: Build, request: StepsRequest) -> None:
        """Begin a build of E2B's steps in the background. Raises what `submit` raises."""
        order = Order(who, build, login=request.login, seconds=self._limit(None))
        await self._begin(order, partial(self._plan_of, who, request))

    async def cancel(self, who: Principal, reference: str, build_id: str) -> None:
        """Break off a build; it has ended when this returns. Nothing happens if it has ended before.

        Raises BermError NOT_FOUND, PERMISSION_DENIED for another team's.
        """
        build = await self._templates.own_build(who.team_id, reference, build_id)
        if build.status is Status.WAITING:
            await self._templates.start(build.build_id)
            await self._fail(build, ENDS[Cause.CANCELLED], None, Cause.CANCELLED)
        await self._stop(build.build_id)

    async def delete(self, who: Principal, reference: str) -> None:
        """Delete a template with its builds; those that go on are broken off. Raises what `cancel` raises."""
        for build_id in await self._templates.delete(who.team_id, reference):
            await self._stop(build_id)
        self._tasks.spawn(self.collect())

    async def _stop(self, build_id: str) -> None:
        task = self._running.get(build_id)
        if task is not None:
            self._cancelled.add(build_id)
            task.cancel()
            await asyncio.wait([task])

    def changed(self, build_id: str) -> asyncio.Future[None]:
        """Done at a build's next news: a line of its log, its end. Cancel it when nobody waits any more."""
        return self._news.next(build_id)

    def has_files(self, team_id: str, files_hash: str) -> bool:
        return self._node.has_files(files_name(team_id, files_hash))

    async def receive(self, team_id: str, files_hash: str, body: AsyncIterator[bytes]) -> None:
        """Keep uploaded files. Raises what `Node.receive` raises."""
        await self._node.receive(files_name(team_id, files_hash), body)

    async def collect(self) -> None:
        """Remove builds that are too old and too many, and the layers and files that nothing refers to."""
        await self._templates.expire(self._config.keep_builds, self._config.keep_days)
        await self._workshop.collect(partial(self._templates.unused, cache_days=self._config.cache_days))
        await self._workshop.drop_old_files(self._config.cache_days)

    def _limit(self, seconds: float | None) -> float:
        most = float(self._config.build_timeout)
        return min(seconds or most, most)

    async def _begin(self, order: Order, source: Source) -> None:
        build_id = order.build.build_id
        await self._templates.start(build_id, trial=order.trial)
        task = self._tasks.begin(self._guarded(order, source))
        self._running[build_id] = task
        task.add_done_callback(lambda _: self._running.pop(build_id))

    async def _guarded(self, order: Order, source: Source) -> None:
        """Whatever happens, the build has an end in its record."""
        build = order.build
        try:
            with self._workshop.hold() as hold:
                product, settings = await self._made(order, source, hold)
                await self._finish(build, product, settings)
        except asyncio.CancelledError:
            cause = Cause.CANCELLED if build.build_id in self._cancelled else Cause.INTERRUPTED
            await asyncio.shield(self._fail(build, ENDS[cause], None, cause))
            raise
        except Exception as error:
            await self._fail(build, *reason(error))
        finally:
            self._cancelled.discard(build.build_id)
            self._news.tell(build.build_id)
        self._tasks.spawn(self.collect())

    async def _finish(self, build: Build, product: Product, settings: Settings) -> None:
        await self._templates.finish(
            build,
            product.layers,
            settings,
            steps=product.steps,
            digest=product.digest,
            size=sum(step.size for step in product.steps),
        )

    async def _fail(self, build: Build, reason: str, step: str | None, cause: Cause) -> None:
        try:
            await self._templates.fail(build.build_id, reason, step, cause)
        except BermError as error:
            if error.code is not Code.CONFLICT:  # its template was deleted meanwhile
                raise

    async def _made(self, order: Order, source: Source, hold: Hold) -> tuple[Product, Settings]:
        write = partial(self._write, order.build.build_id)
        secrets = tuple(order.secrets.values())
        async with self._room, buildlog.writing(write, secrets) as lines:
            async with asyncio.timeout(order.seconds):
                return await self._build(order, source, lines, hold)

    async def _build(
        self, order: Order, source: Source, lines: BuildLog, hold: Hold
    ) -> tuple[Product, Settings]:
        plan = await source(lines)
        ask = Ask(order.who.team_id, order.build.resources, order.secrets)
        building = Building(self._workshop, self._images, ask, plan, lines, hold, order.login)
        try:
            product = await building.run()
        except BaseException:
            await asyncio.shield(self._templates.note_steps(order.build.build_id, building.records))
            raise
        await self._try(order, product, plan.settings, lines)
        if product.fresh:
            await self._node.settle()
        return product, plan.settings

    async def _try(self, order: Order, product: Product, settings: Settings, lines: BuildLog) -> None:
        """Start a sandbox of what was made and see that it gets ready and is healthy."""
        if not (settings.start_cmd or settings.ready_cmd or settings.health):
            return
        template = _template(order.build, product, settings)
        spec = _spec(template)
        output = lines.step("finalize")
        await self._node.create(spec)
        try:
            await starting.start(self._node, spec.sandbox_id, template, self._config.ready_timeout, output)
            if settings.health:
                await starting.check(self._node, spec.sandbox_id, template, settings.health, output)
        finally:
            await asyncio.shield(self._node.kill(spec.sandbox_id))

    async def _write(self, build_id: str, lines: Sequence[BuildLine]) -> None:
        await self._templates.append(build_id, lines)
        self._news.tell(build_id)

    async def _plan_of(self, who: Principal, request: StepsRequest, lines: BuildLog) -> Plan:
        try:
            base, settings = await self._base_of(who, request)
        except BermError as error:
            raise BaseError(error) from error
        try:
            plan = e2b.plan_of(request.steps, base, settings)
        except BermError as error:
            raise PlanError(error) from error
        # What is not asked for is as in the template that it is built from.
        start_cmd = request.start_cmd or settings.start_cmd
        ready_cmd = request.ready_cmd or settings.ready_cmd
        asked = replace(plan.settings, start_cmd=start_cmd, ready_cmd=ready_cmd)
        return replace(plan, settings=asked, force=request.force)

    async def _base_of(self, who: Principal, request: StepsRequest) -> tuple[Base, Settings]:
        if request.from_template:
            base = Base("template", request.from_template)
            return base, (await self._images.known(who.team_id, base)).settings
        found = await self._images.find(who.team_id, request.from_image, request.login)
        return Base("image", request.from_image, found.digest), found.settings


async def _ready(plan: Plan) -> Plan:
    return plan


def _template(build: Build, product: Product, settings: Settings) -> Template:
    return Template(
        template_id=build.template_id,
        name="",
        build_id=build.build_id,
        layers=product.layers,
        created_at=build.created_at,
        resources=build.resources,
        env=settings.env,
        user=settings.user or ACCOUNT,
        workdir=settings.workdir,
        start_cmd=settings.start_cmd,
        ready_cmd=settings.ready_cmd,
    )


def _spec(template: Template) -> SandboxSpec:
    return SandboxSpec(
        sandbox_id=ids.sandbox_id(),
        layers=template.layers,
        resources=template.resources,
        allow_internet=True,
        env=template.env,
        user=template.user,
        workdir=template.workdir,
        access_token=ids.access_token(),
    )
