"""From a template's files and what its base images mean to the plan."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

from berm.cli.template_images import Answers, Found
from berm.cli.template_source import NOT_FETCHED, Source
from berm.errors import Code
from berm.templates import entries, lint
from berm.templates.base import ResolvedImage, is_own
from berm.templates.context import Context, Selection
from berm.templates.evaluate import downloads, evaluate
from berm.templates.graph import Graph
from berm.templates.inputs import Download
from berm.templates.plan import Copy, Plan, Run, Stage, Step
from berm.templates.problems import Problem, Severity, refuse

_SMALL = 64 * 1024

_CERTAIN = (Code.NOT_FOUND, Code.INVALID_ARGUMENT)
"""What is wrong with a reference wherever it is asked about."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A plan, and the files that it refers to by their digests."""

    source: Source
    plan: Plan
    selections: Mapping[str, Selection]
    images: Mapping[str, ResolvedImage]
    problems: tuple[Problem, ...]
    """Warnings."""

    def place(self, name: str) -> tuple[str, int]:
        """The file and line of a step; the top of the Dockerfile for one that stands nowhere."""
        for stage, around in zip(self.plan.stages, self.source.graph.stages, strict=True):
            for step in stage.steps:
                if step.name == name and step.line:
                    return around.file, step.line
        return self.source.graph.file, 1

    def users(self, digest: str) -> tuple[str, ...]:
        """The names of the steps that use these files."""
        return tuple(step.name for step in steps(self.plan) if digest in digests_of(step))


def prepare(source: Source, answers: Answers, stack: ExitStack, *, strict: bool, fetch: bool) -> Ready:
    """Make the plan. What ADD downloads, if `fetch` says so, is there until `stack` is closed.

    Not `strict`: an image that nobody could be asked about is only a warning, and has no digest in the plan.
    Raises DefinitionError with all that is wrong.
    """
    found = [*source.problems, *_unknown_images(source.graph, answers, strict=strict)]
    images = {name: one.image for name, one in answers.items() if one.image}
    files = _Recorder(source.context)
    wanted = downloads(source.graph, images)
    fetched = _fetched(wanted, stack) if fetch else {}
    files.selections |= {selection.digest: selection for selection in fetched.values()}
    hashes = {one.url: fetched[one.url].digest if fetch else NOT_FETCHED for one in wanted}
    plan, problems = evaluate(source.graph, images, files, hashes)
    found += problems
    if plan:
        plan = _settled(plan, source, images.values())
        found += _advice(source, plan)
    refuse(found)
    assert plan  # noqa: S101 - without a plan there are errors
    return Ready(source, plan, files.selections, images, tuple(sorted(found)))


def _fetched(wanted: Sequence[Download], stack: ExitStack) -> Mapping[str, Selection]:
    from berm.cli import template_fetch  # noqa: PLC0415 - see Target.api

    return template_fetch.fetched(wanted, stack)


def _advice(source: Source, plan: Plan) -> Iterable[Problem]:
    return lint.warnings(
        source.dockerfile,
        source.graph,
        plan,
        source.definition,
        files=source.context,
        locked=source.lock.images,
        read=partial(_read, source.context),
    )


def _read(context: Context, path: str) -> bytes:
    """A small file of the context; nothing for one that is not small, or no file."""
    entry = next((entry for entry in context.entries if entry.path == path), None)
    if entry is None or entry.kind != "file" or entry.size > _SMALL:
        return b""
    return b"".join(entries.content(os.fsencode(context.root), entry))


def steps(plan: Plan) -> Iterator[Step]:
    """Those of all stages."""
    return (step for stage in plan.stages for step in stage.steps)


def digests_of(step: Step) -> frozenset[str]:
    """The uploaded files that a step uses."""
    match step.action:
        case Copy(files_hash=digest):
            return frozenset([digest] if digest else [])
        case Run(mounts=mounts):
            return frozenset(mount.files_hash for mount in mounts if mount.files_hash)
        case _:
            return frozenset()


class _Recorder:
    """A context that remembers what was selected, by digest: that is what may have to be sent."""

    def __init__(self, context: Context) -> None:
        self.selections: dict[str, Selection] = {}
        self._context = context

    def select(self, sources: Sequence[str], exclude: Sequence[str] = (), parents: bool = False) -> Selection:
        selection = self._context.select(sources, exclude, parents)
        if selection.digest:
            self.selections[selection.digest] = selection
        return selection


def _unknown_images(graph: Graph, answers: Mapping[str, Found], *, strict: bool) -> Iterator[Problem]:
    for name, one in answers.items():
        if one.image or (is_own(name) and not strict):
            continue
        severity = Severity.ERROR if strict or one.code in _CERTAIN else Severity.WARNING
        yield problem_at(graph, name, f"what {name} is could not be found out: {one.why}", "", severity)


def problem_at(graph: Graph, image: str, message: str, hint: str, severity: Severity) -> Problem:
    """A problem with an image, at the FROM of the first stage that uses it."""
    stage = next(
        stage
        for stage in graph.stages
        if any(base.name == image for base in (stage.base, *stage.sources.values()))
    )
    return Problem(stage.file, stage.origin.line, stage.origin.column, message, hint, severity)


def _settled(plan: Plan, source: Source, images: Iterable[ResolvedImage]) -> Plan:
    """With what e2b.toml and the command line say beside the Dockerfile."""
    definition = source.definition
    # An image's check is of the program that the image starts; here that runs only as a start command.
    inherited = plan.settings.health in [image.settings.health for image in images]
    checked = None if inherited and not definition.start_cmd else plan.settings.health
    settings = replace(
        plan.settings,
        start_cmd=definition.start_cmd,
        ready_cmd=definition.ready_cmd,
        health=definition.health or checked,
    )
    stages = plan.stages if definition.network else tuple(map(_offline, plan.stages))
    return replace(plan, stages=stages, settings=settings, force=source.wanted.no_cache)


def _offline(stage: Stage) -> Stage:
    return replace(stage, steps=tuple(map(_offline_step, stage.steps)))


def _offline_step(step: Step) -> Step:
    return replace(step, action=replace(step.action, network=False)) if isinstance(step.action, Run) else step
