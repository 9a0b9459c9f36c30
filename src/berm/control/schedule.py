"""What a build has to do: the steps of a plan with their cache keys, on bases that are on this machine."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from berm.control.images import Ground
from berm.control.provision import add_account
from berm.templates import keys
from berm.templates.plan import Action, Base, Copy, Directory, Mount, Plan, Run, Stage, Step

_ADD_USER = Run(add_account())


@dataclass(frozen=True, slots=True)
class Task:
    """A step and the key of the layer that it makes; a step that makes none has the key of what is there."""

    step: Step
    key: str


@dataclass(frozen=True, slots=True)
class Course:
    """One stage: what it begins with, and its tasks in order."""

    stage: Stage
    tasks: tuple[Task, ...]
    key: str
    """Of all its layers together."""


def bases(plan: Plan) -> list[Base]:
    """Everything outside of the plan that it is built from, each once."""
    found = dict.fromkeys(base for stage in plan.stages for base in _of_stage(stage))
    return [base for base in found if base.kind != "stage"]


def needs(action: Action | None) -> frozenset[int]:
    """The numbers of the stages that a step takes files from."""
    return frozenset(int(base.name) for base in _of_action(action) if base.kind == "stage")


def files(plan: Plan) -> frozenset[str]:
    """The hashes of the uploaded files that it takes."""
    actions = [step.action for stage in plan.stages for step in stage.steps]
    return frozenset(found for action in actions for found in files_of(action))


def files_of(action: Action | None) -> list[str]:
    parts: Sequence[Copy | Mount] = ()
    if isinstance(action, Copy):
        parts = (action,)
    elif isinstance(action, Run):
        parts = action.mounts
    return [part.files_hash for part in parts if part.files_hash]


def courses(plan: Plan, grounds: Mapping[Base, Ground], scope: str) -> list[Course]:
    """A course for each stage. `scope` keeps the keys of teams apart."""
    made: list[Course] = []
    for stage in with_workdirs(with_user(plan, grounds), plan):
        made.append(_course(stage, grounds, [course.key for course in made], scope))
    return made


def with_user(plan: Plan, grounds: Mapping[Base, Ground]) -> tuple[Stage, ...]:
    """The stages, the last with the step that adds the account `user`."""
    *others, last = plan.stages
    if plan.provision == "last":
        add = Step("Add the account user", name="finalize", action=_ADD_USER)
        return (*others, replace(last, steps=(*last.steps, add)))
    if last.base.kind != "stage" and grounds[last.base].has_user:
        return plan.stages
    add = Step("Add the account user", name="base", action=_ADD_USER)
    return (*others, replace(last, steps=(add, *last.steps)))


def with_workdirs(stages: Sequence[Stage], plan: Plan) -> tuple[Stage, ...]:
    """The stages, with a step before each that runs in a directory that only its image's configuration names.

    Such a directory need not be in the image: whoever runs something in it makes it. In E2B's steps a working
    directory is made by its own step.
    """
    if plan.provision == "first":
        return tuple(stages)
    found: list[Stage] = []
    for number, stage in enumerate(stages):
        last = plan.settings.workdir if number == len(stages) - 1 else ""
        found.append(replace(stage, steps=tuple(_with_workdirs(stage.steps, last, number))))
    return tuple(found)


def _with_workdirs(steps: Sequence[Step], last: str, stage: int) -> Iterator[Step]:
    made = {"", "/"}
    for step in steps:
        wanted = step.action.workdir if isinstance(step.action, Run) else ""
        if wanted not in made:
            yield _workdir(wanted, stage, len(made))
        made |= {wanted, step.action.path if isinstance(step.action, Directory) else ""}
        yield step
    if last not in made:
        yield _workdir(last, stage, len(made))


def _workdir(path: str, stage: int, count: int) -> Step:
    return Step(f"WORKDIR {path}", name=f"workdir-{stage}-{count}", action=Directory(path))


def _course(stage: Stage, grounds: Mapping[Base, Ground], stages: Sequence[str], scope: str) -> Course:
    key = keys.base_key(_settled(stage.base, grounds), stages, scope)
    tasks = []
    for step in stage.steps:
        if step.action:
            key = keys.step_key(key, settle(step.action, grounds), stages, scope)
        tasks.append(Task(step, key))
    return Course(stage, tuple(tasks), key)


def settle(action: Action, grounds: Mapping[Base, Ground]) -> Action:
    """The action with its bases as they are known by now: a template's name means a build."""
    if isinstance(action, Copy) and action.base:
        return replace(action, base=_settled(action.base, grounds))
    if isinstance(action, Run):
        return replace(action, mounts=tuple(_settled_mount(mount, grounds) for mount in action.mounts))
    return action


def _settled_mount(mount: Mount, grounds: Mapping[Base, Ground]) -> Mount:
    return replace(mount, base=_settled(mount.base, grounds)) if mount.base else mount


def _settled(base: Base, grounds: Mapping[Base, Ground]) -> Base:
    return base if base.kind == "stage" else grounds[base].base


def _of_stage(stage: Stage) -> Iterator[Base]:
    yield stage.base
    for step in stage.steps:
        yield from _of_action(step.action)


def _of_action(action: Action | None) -> Iterable[Base]:
    if isinstance(action, Copy):
        return [action.base] if action.base else []
    if isinstance(action, Run):
        return [mount.base for mount in action.mounts if mount.base]
    return []
