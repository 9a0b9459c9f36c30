"""Which stages of a Dockerfile a build needs, in which order, and which images from elsewhere."""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from berm.templates.dockerfile import Dockerfile, Instruction
from berm.templates.findings import TOP, Findings, nearest, shown
from berm.templates.plan import SCRATCH, Base
from berm.templates.problems import Problem
from berm.templates.stages import NamedStage, Reference, predefined, stages_of, this_platform


@dataclass(frozen=True, slots=True)
class GraphStage:
    """A stage that is needed. What it refers to is known; what its instructions do is not looked at."""

    file: str
    escape: str
    name: str
    origin: Instruction
    """Its FROM."""
    base: Base
    """Stages are named by their number in the graph; an image has no digest yet."""
    body: tuple[Instruction, ...]
    sources: Mapping[str, Base]
    """What `--from` of its instructions means, by the text that is written there."""
    globals: Mapping[str, str]
    """Arguments from before the first FROM of its file, and those that every build has."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A stage that nothing needs."""

    file: str
    line: int
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Graph:
    """The stages that the target needs, each after those that it needs; the target is the last."""

    file: str
    stages: tuple[GraphStage, ...]
    images: tuple[str, ...]
    """References of the images from elsewhere, in order of first use."""
    dropped: tuple[Dropped, ...] = ()
    build_args: Mapping[str, str] = field(default_factory=dict)
    declared: frozenset[str] = frozenset()
    """Every name that some ARG declares."""
    sound: bool = True
    """False if there was an error: then there is no plan for it, but `evaluate` finds what else is wrong."""


def graph(
    dockerfile: Dockerfile,
    build_args: Mapping[str, str],
    target: str = "",
    *,
    base: Dockerfile | None = None,
    platform: str = "",
) -> tuple[Graph | None, tuple[Problem, ...]]:
    """What a build of `target` (a stage's name or number; the last one if empty) needs.

    `base` is a Dockerfile whose result is called `base` in this one; `platform` is that of the machine which
    builds, this one's if empty. None if the problems leave no order of stages.
    """
    findings = Findings()
    always = predefined(platform or this_platform(), target, build_args)
    files = [base, dockerfile] if base else [dockerfile]
    stages: list[NamedStage] = []
    first = 0
    for each in files:
        first = len(stages)
        stages += stages_of(each, always, build_args, first, findings)
    chosen = _target(dockerfile, stages[first:], target, findings)
    order = _order(stages, findings)
    if chosen is None or not order:
        return None, findings.all()
    kept = _kept(stages, order, chosen)
    result = Graph(
        dockerfile.file,
        kept,
        _images(kept),
        tuple(_dropped(stages, chosen)),
        dict(build_args),
        frozenset(
            name for each in files for instruction in each.instructions for name in _declared(instruction)
        ),
        not findings.failed,
    )
    return result, findings.all()


def _declared(instruction: Instruction) -> Iterator[str]:
    if instruction.keyword == "ARG":
        yield from (name for name, _ in instruction.pairs)


def _target(
    dockerfile: Dockerfile, own: Sequence[NamedStage], target: str, findings: Findings
) -> NamedStage | None:
    if not own or not target:
        return own[-1] if own else None
    names = {stage.name: stage for stage in own}
    numbers = {str(number): stage for number, stage in enumerate(own)}
    found = names.get(target.lower()) or numbers.get(target)
    if found is None:
        named = [stage.name for stage in own if not stage.name.isdecimal()]
        findings.error(dockerfile.file, TOP, f"there is no stage {shown(target)}", nearest(target, named))
    return found


def _order(stages: Sequence[NamedStage], findings: Findings) -> list[int]:
    """Each after those that it needs; as they stand in the file where that leaves a choice."""
    sorter = TopologicalSorter({stage.place: stage.needs() for stage in stages})
    try:
        sorter.prepare()
    except CycleError as error:
        _cycle(stages, error.args[1], findings)
        return []
    order: list[int] = []
    ready = list(sorter.get_ready())
    heapq.heapify(ready)
    while ready:
        order.append(heapq.heappop(ready))
        sorter.done(order[-1])
        for place in sorter.get_ready():
            heapq.heappush(ready, place)
    return order


def _cycle(stages: Sequence[NamedStage], circle: Sequence[int], findings: Findings) -> None:
    first = stages[min(circle)]
    names = [stages[place].name for place in reversed(circle)]
    message = f"the stages {' -> '.join(names)} need each other"
    if len(names) == 2:
        message = f"the stage {names[0]} copies from itself"
    findings.error(first.file, first.origin, message, "copy from a stage that does not need this one")


def _needed(stages: Sequence[NamedStage], target: int) -> set[int]:
    found, left = {target}, [target]
    while left:
        more = stages[left.pop()].needs() - found
        found |= more
        left += more
    return found


def _kept(stages: Sequence[NamedStage], order: Sequence[int], chosen: NamedStage) -> tuple[GraphStage, ...]:
    needed = _needed(stages, chosen.place)
    numbers = {place: number for number, place in enumerate(place for place in order if place in needed)}
    return tuple(_stage(stages[place], numbers) for place in numbers)


def _stage(stage: NamedStage, numbers: Mapping[int, int]) -> GraphStage:
    return GraphStage(
        stage.file,
        stage.escape,
        stage.name,
        stage.origin,
        _base(stage.base, numbers),
        stage.body,
        {text: _base(reference, numbers) for text, reference in stage.sources.items()},
        stage.globals,
    )


def _base(reference: Reference, numbers: Mapping[int, int]) -> Base:
    if isinstance(reference, int):
        return Base("stage", str(numbers[reference]))
    return Base("scratch") if reference == SCRATCH else Base("image", reference)


def _dropped(stages: Sequence[NamedStage], chosen: NamedStage) -> Iterator[Dropped]:
    needed = _needed(stages, chosen.place)
    for stage in stages:
        if stage.place not in needed:
            yield Dropped(
                stage.file, stage.origin.line, stage.name, f"the stage {chosen.name} does not need it"
            )


def _images(stages: Iterable[GraphStage]) -> tuple[str, ...]:
    bases = (base for stage in stages for base in (stage.base, *stage.sources.values()))
    return tuple(dict.fromkeys(base.name for base in bases if base.kind == "image" and base.name))
