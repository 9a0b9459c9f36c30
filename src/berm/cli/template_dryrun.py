"""`berm template build --dry-run`: the plan of a build, as far as it can be known. It changes nothing."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from berm.cli import output, template_calls, template_images, template_report
from berm.cli.client import Client
from berm.cli.github import Job
from berm.cli.target import Target
from berm.cli.template_build import BAD, guarded
from berm.cli.template_images import Answers
from berm.cli.template_plan import Ready, prepare
from berm.cli.template_report import Files, Image, Report, Upload
from berm.cli.template_source import Source, Wanted, load
from berm.errors import BermError, Code
from berm.templates.plan import Plan

_AWAY = (Code.UNAVAILABLE, Code.TIMED_OUT)
_LARGEST = 5


def run(wanted: Wanted, target: Target) -> int:
    """Show the plan, and return the exit code. Raises BermError for what is no fault of the template."""
    return guarded(wanted, partial(_run, wanted, target))


def _run(wanted: Wanted, target: Target, job: Job) -> int:
    source = load(wanted)
    with ExitStack() as stack:
        report = _report(source, target, stack)
    if wanted.as_json:
        output.as_json(template_report.as_json(report))
    else:
        template_report.show(report)
    template_report.show_problems(report.problems, job)
    job.summarize(template_report.summary(report))
    return BAD if report.wrong else 0


def _report(source: Source, target: Target, stack: ExitStack) -> Report:
    api, answers, why = _ask(source, target, stack)
    pinned = template_images.locked(answers, source.graph.images, source.pins)
    ready = prepare(source, pinned, stack, strict=False, fetch=api is not None)
    found: Mapping[str, Any] = {"steps": _unknown_steps(ready.plan), "files": {}, "template": None}
    name = source.definition.reference
    if api and _is_whole(ready.plan):
        name = template_calls.name_of(api, source)
        found = template_calls.preview(api, name, ready)
    elif api:
        why = "a base image is unknown"
    return Report(
        name=name,
        folder=str(source.definition.folder),
        server="" if why else target.client.url,
        why=why,
        tags=source.tags,
        images=tuple(_image(name, source, answers) for name in source.graph.images),
        files=_files(source),
        uploads=tuple(_uploads(ready, found["files"])),
        steps=(*(_placed(step, ready) for step in found["steps"]), *_dropped(source)),
        template=found["template"],
        problems=ready.problems,
    )


def _ask(source: Source, target: Target, stack: ExitStack) -> tuple[Client | None, Answers, str]:
    """What images mean, by the server that was asked, or without one and why."""
    names = source.graph.images
    references = dict.fromkeys((*names, *(template_images.pinned(name, source.pins) for name in names)))
    try:
        api = stack.enter_context(target.api())
        api.get("templates")
        return api, template_images.from_server(api, references), ""
    except BermError as error:
        if error.code not in _AWAY and not _without_key(target, error):
            raise
        why = error.message if target.is_named else "none is named, and none runs on this machine"
        return None, _from_registries(references), why


def _from_registries(references: Collection[str]) -> Answers:
    from berm.cli import template_registries  # noqa: PLC0415 - pydantic takes 100 ms

    return template_registries.resolved(references)


def _without_key(target: Target, error: BermError) -> bool:
    """Whether there is no key to ask with, as in a pull request; a wrong one is an error."""
    return error.code is Code.UNAUTHENTICATED and not target.client.key


def _is_whole(plan: Plan) -> bool:
    return all(stage.base.digest for stage in plan.stages if stage.base.kind == "image")


def _unknown_steps(plan: Plan) -> list[Mapping[str, Any]]:
    return [
        {
            "name": step.name,
            "stage": stage.name,
            "text": step.text,
            "line": step.line,
            "state": "unknown" if step.action else "config",
            "reason": "",
            "last": None,
        }
        for stage in plan.stages
        for step in stage.steps
    ]


def _placed(step: Mapping[str, Any], ready: Ready) -> Mapping[str, Any]:
    file, line = ready.place(step["name"])
    return {**step, "where": f"{Path(file).name}:{line}" if step["line"] else ""}


def _dropped(source: Source) -> Iterator[Mapping[str, Any]]:
    for stage in source.graph.dropped:
        yield {
            "name": "",
            "stage": stage.name,
            "text": f"the stage {stage.name}",
            "line": stage.line,
            "where": f"{Path(stage.file).name}:{stage.line}",
            "state": "unneeded",
            "reason": stage.reason,
            "last": None,
        }


def _image(name: str, source: Source, answers: Answers) -> Image:
    now = answers[name]
    pin = source.lock.images.get(name)
    digest = now.image.digest if now.image else ""
    return Image(name, digest, pin.digest if pin else "", now.why)


def _files(source: Source) -> Files:
    files = [entry for entry in source.context.entries if entry.kind == "file"]
    largest = sorted(files, key=lambda entry: entry.size, reverse=True)[:_LARGEST]
    return Files(
        folder=str(source.context.root),
        count=len(files),
        bytes=sum(entry.size for entry in files),
        largest=tuple((entry.path, entry.size) for entry in largest),
    )


def _uploads(ready: Ready, present: Mapping[str, bool]) -> Iterator[Upload]:
    for digest, selection in ready.selections.items():
        yield Upload(ready.users(digest), digest, selection.count, selection.bytes, present.get(digest))
