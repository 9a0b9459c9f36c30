"""The dry run: what a build would do with each step, and why. It changes nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from berm.control.images import Images
from berm.control.layers import CachedLayer
from berm.control.schedule import Course, Task, bases, courses, files
from berm.control.steps import files_name
from berm.control.templates import Templates
from berm.control.workshop import Workshop
from berm.store.builds import Build, StepRecord
from berm.templates.plan import Plan


class StepState(StrEnum):
    CACHED = "cached"
    BUILD = "build"
    CONFIG = "config"
    """It changes the configuration only, and takes no time."""


@dataclass(frozen=True, slots=True)
class Last:
    """How a step went when it was carried out last."""

    duration_ms: int
    size: int
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StepPreview:
    name: str
    stage: str
    text: str
    line: int
    state: StepState
    reason: str
    last: Last | None = None


@dataclass(frozen=True, slots=True)
class Preview:
    """All that a build would do. `files` has for each hash of uploaded files whether they are here."""

    steps: tuple[StepPreview, ...]
    files: Mapping[str, bool]
    template_id: str = ""
    """Empty for a template that there is not yet."""
    newest: Build | None = None


@dataclass(frozen=True, slots=True)
class Previewer:
    """Looks at the cache, and leaves it as it is."""

    workshop: Workshop
    images: Images
    templates: Templates

    async def preview(self, team_id: str, name: str, plan: Plan) -> Preview:
        """Raises BermError for a base that is not there."""
        grounds = {base: await self.images.known(team_id, base) for base in bases(plan)}
        order = courses(plan, grounds, team_id)
        cached = await self.workshop.look([task.key for course in order for task in course.tasks])
        newest = await self.templates.newest(team_id, name)
        past = _by_key_and_text(newest.steps if newest else ())
        has_files = self.workshop.node.has_files
        return Preview(
            steps=tuple(_steps(order, plan, cached, past)),
            files={name: has_files(files_name(team_id, name)) for name in sorted(files(plan))},
            template_id=newest.template_id if newest else "",
            newest=newest,
        )


def _by_key_and_text(steps: Sequence[StepRecord]) -> dict[str, StepRecord]:
    """Two steps may have one text; a key tells them apart."""
    return {step.text: step for step in steps} | {step.key: step for step in steps if step.key}


def _steps(
    order: Sequence[Course], plan: Plan, cached: Mapping[str, CachedLayer], past: Mapping[str, StepRecord]
) -> list[StepPreview]:
    found: list[StepPreview] = []
    rebuilt: dict[int, str] = {}
    for number, course in enumerate(order):
        why = _why_at_first(course, plan, rebuilt)
        for task in course.tasks:
            step, why = _step(task, course, cached, past, why)
            found.append(step)
        if why:
            rebuilt[number] = why
    return found


def _why_at_first(course: Course, plan: Plan, rebuilt: Mapping[int, str]) -> str:
    if plan.force:
        return "the cache is not used"
    base = course.stage.base
    return rebuilt.get(int(base.name), "") if base.kind == "stage" else ""


def _step(
    task: Task,
    course: Course,
    cached: Mapping[str, CachedLayer],
    past: Mapping[str, StepRecord],
    why: str,
) -> tuple[StepPreview, str]:
    """The step, and why those after it are carried out, if they are."""
    step = task.step
    kept = cached.get(task.key)
    last = _last(kept, past.get(task.key) or past.get(step.text))
    if step.action is None:
        return StepPreview(step.name, course.stage.name, step.text, step.line, StepState.CONFIG, ""), why
    reason = why or _reason(task, kept, past)
    state = StepState.BUILD if reason else StepState.CACHED
    shown = StepPreview(step.name, course.stage.name, step.text, step.line, state, reason, last)
    return shown, why or (f"it stands on step {step.name}, which is carried out" if reason else "")


def _reason(task: Task, kept: CachedLayer | None, past: Mapping[str, StepRecord]) -> str:
    """Why a step whose base is as it was is carried out; empty if it is not."""
    if task.step.force:
        return "it is asked for"
    if kept:
        return ""
    if task.key in past:
        return "its layer was removed"
    return "what it is made from has changed" if task.step.text in past else "it is new"


def _last(kept: CachedLayer | None, record: StepRecord | None) -> Last | None:
    if kept:
        return Last(kept.duration_ms, kept.layer.size, kept.created_at)
    return Last(record.duration_ms, record.size) if record else None
