"""One build as it goes: stages side by side, each step from the cache or carried out."""

import asyncio
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from berm.control.buildlog import BuildLog
from berm.control.images import Ground, Images
from berm.control.layers import CachedLayer
from berm.control.schedule import Course, Task, bases, courses, needs
from berm.control.steps import Ask, Stand, StepError, carry_out, exclusive
from berm.control.workshop import Hold, Workshop
from berm.errors import BermError, Code
from berm.images.registry import Login
from berm.models import Layer
from berm.node.layers import FULL
from berm.store.builds import StepRecord
from berm.templates.plan import Action, Base, Plan

BASE_STEP: Final = "base"


@dataclass(frozen=True, slots=True)
class Chain:
    """What a stage has come to: its layers, bottom first."""

    layers: tuple[str, ...]
    fresh: bool
    """Whether a step was carried out: then all that follow are."""


@dataclass(frozen=True, slots=True)
class Product:
    """What a build made."""

    layers: tuple[str, ...]
    digest: str
    """Of all that it was made from."""
    steps: tuple[StepRecord, ...]

    @property
    def fresh(self) -> bool:
        """Whether anything was made that was not there before."""
        return not all(step.cached for step in self.steps)


@dataclass(slots=True)
class Building:
    """Carries out one plan. Raises BermError; a StepError names the step."""

    workshop: Workshop
    images: Images
    ask: Ask
    plan: Plan
    log: BuildLog
    hold: Hold
    login: Login | None = None
    _grounds: dict[Base, Ground] = field(default_factory=dict)
    _chains: "list[asyncio.Future[Chain]]" = field(default_factory=list)
    _records: dict[str, StepRecord] = field(default_factory=dict)
    _cached: dict[str, CachedLayer] = field(default_factory=dict)

    async def run(self) -> Product:
        """Build all stages. What was finished before a failure stays in the cache."""
        await self._find_grounds()
        order = courses(self.plan, self._grounds, self.ask.team_id)
        keys = {task.key for course in order for task in course.tasks if task.step.action}
        self._cached = await self.workshop.take(keys, self.hold)
        loop = asyncio.get_running_loop()
        self._chains = [loop.create_future() for _ in order]
        try:
            async with asyncio.TaskGroup() as stages:
                for number, course in enumerate(order):
                    stages.create_task(self._stage(number, course))
        except* Exception as failed:
            raise _first(failed) from None
        return self._product(order)

    async def _find_grounds(self) -> None:
        try:
            for base in bases(self.plan):
                self._grounds[base] = ground = await self.images.known(self.ask.team_id, base)
                self.hold.add(ground.layers)
                log = self.log.step(BASE_STEP)
                await self.images.fetch(self.ask.team_id, ground, base, log, self.login)
        except BermError as error:
            raise BaseError(error) from error

    async def _stage(self, number: int, course: Course) -> None:
        chain = await self._begin(course)
        for task in course.tasks:
            if task.step.action:
                chain = await self._step(task, task.step.action, chain)
            else:
                self._note(task, Layer("", 0), cached=True, seconds=0.0)
        self._chains[number].set_result(chain)

    async def _begin(self, course: Course) -> Chain:
        base = course.stage.base
        if base.kind == "stage":
            return await self._chains[int(base.name)]
        return Chain(self._grounds[base].layers, self.plan.force)

    async def _step(self, task: Task, action: Action, chain: Chain) -> Chain:
        sources = await self._sources(action)
        fresh = chain.fresh or task.step.force
        self.log.put(f"[{task.step.name}] {task.step.text}", task.step.name)
        if not fresh and task.key in self._cached:
            return self._reused(task, chain, self._cached[task.key])
        async with self.workshop.making(task.key):
            # Another build may have made it since this one began.
            found = {} if fresh else await self.workshop.take([task.key], self.hold)
            if kept := found.get(task.key):
                return self._reused(task, chain, kept)
            layer = await self._carry_out(task, action, Stand(chain.layers, sources))
        return Chain(_with(chain.layers, layer), fresh=True)

    def _reused(self, task: Task, chain: Chain, kept: CachedLayer) -> Chain:
        self.log.put("CACHED", task.step.name)
        self._note(task, kept.layer, cached=True, seconds=kept.duration_ms / 1000)
        return Chain(_with(chain.layers, kept.layer), fresh=False)

    async def _carry_out(self, task: Task, action: Action, stand: Stand) -> Layer:
        begun = time.monotonic()
        output = self.log.step(task.step.name)
        try:
            async with self.workshop.alone(exclusive(action, self.ask)):
                layer = await carry_out(self.workshop.node, action, stand, self.ask, output)
        except StepError as error:
            raise StepError(error.message, task.step.name, error.hint) from error
        except BermError as error:
            raise FailedStepError(error, task.step.name) from error
        except OSError as error:
            raise FailedStepError(_of_machine(error), task.step.name) from error
        seconds = time.monotonic() - begun
        await self.workshop.keep(task.key, self.ask.team_id, layer, seconds, self.hold)
        self._note(task, layer, cached=False, seconds=seconds)
        return layer

    async def _sources(self, action: Action) -> dict[Base, tuple[str, ...]]:
        """The layers of the bases that a step takes files from, when they are finished."""
        found = {base: ground.layers for base, ground in self._grounds.items()}
        for number in needs(action):
            chain = await self._chains[number]
            found[Base("stage", str(number))] = chain.layers
        return found

    def _note(self, task: Task, layer: Layer, *, cached: bool, seconds: float) -> None:
        step = task.step
        self._records[step.name] = StepRecord(
            name=step.name,
            text=step.text,
            line=step.line,
            cached=cached,
            duration_ms=round(seconds * 1000),
            size=layer.size,
            key=task.key if step.action else "",
        )

    def _product(self, order: Sequence[Course]) -> Product:
        layers = self._chains[-1].result().layers
        names = [task.step.name for course in order for task in course.tasks]
        settings = repr(self.plan.settings)
        digest = hashlib.sha256(f"{order[-1].key} {settings}".encode(errors="surrogateescape")).hexdigest()
        return Product(layers, f"sha256:{digest}", tuple(self._records[name] for name in names))

    @property
    def records(self) -> tuple[StepRecord, ...]:
        """Of the steps that have come to an end so far."""
        return tuple(self._records.values())


class FailedStepError(BermError):
    """A step that failed by a fault of the machine: no room, no launcher."""

    def __init__(self, cause: BermError, step: str) -> None:
        super().__init__(cause.code, cause.message, cause.hint)
        self.step = step


class BaseError(FailedStepError):
    """A base that cannot be had."""

    def __init__(self, cause: BermError) -> None:
        super().__init__(cause, BASE_STEP)


class PlanError(FailedStepError):
    """Steps that cannot be carried out as they are written."""

    def __init__(self, cause: BermError) -> None:
        super().__init__(cause, BASE_STEP)


def _with(layers: tuple[str, ...], layer: Layer) -> tuple[str, ...]:
    return (*layers, layer.name) if layer.name else layers


def _of_machine(error: OSError) -> BermError:
    full = error.errno in FULL
    return BermError(Code.NO_SPACE if full else Code.INTERNAL, str(error))


def _first(failed: ExceptionGroup[Exception]) -> Exception:
    error: Exception = failed
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
