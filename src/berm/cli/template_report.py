"""Plans and finished builds as a person reads them: on a terminal, and in the summary of a job at GitHub."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from berm.cli import github, output
from berm.cli.client import JSON
from berm.cli.github import Job
from berm.cli.template_plan import Ready, steps
from berm.templates.problems import Problem, Severity

_SHORT = len("sha256:") + 12


@dataclass(frozen=True, slots=True)
class Image:
    """What a base image means: now, and in e2b.lock."""

    reference: str
    digest: str = ""
    """What it means now; empty if that could not be found out."""
    locked: str = ""
    """What e2b.lock says; empty if it says nothing of it."""
    why: str = ""
    """Why it could not be found out."""

    @property
    def drifted(self) -> bool:
        return bool(self.digest and self.locked and self.digest != self.locked)


@dataclass(frozen=True, slots=True)
class Files:
    """The build context."""

    folder: str
    count: int = 0
    bytes: int = 0
    largest: tuple[tuple[str, int], ...] = ()
    ignored: tuple[str, ...] = ()
    """Sources that .dockerignore leaves out."""
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Upload:
    """Files that a step copies. `present`: the server has them; None: nobody knows."""

    steps: tuple[str, ...]
    digest: str
    files: int
    bytes: int
    present: bool | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All that a dry run found out."""

    name: str
    folder: str
    server: str = ""
    """Whose cache the states are of; empty if there was none to ask."""
    why: str = ""
    """Why no server was asked."""
    tags: tuple[str, ...] = ()
    images: tuple[Image, ...] = ()
    files: Files | None = None
    uploads: tuple[Upload, ...] = ()
    steps: tuple[Mapping[str, Any], ...] = ()
    """As the server answers, or with the state `unknown`."""
    template: Mapping[str, Any] | None = None
    problems: tuple[Problem, ...] = field(default=())

    @property
    def wrong(self) -> bool:
        return any(problem.severity is Severity.ERROR for problem in self.problems)


def as_json(report: Report) -> JSON:
    """The same for programs."""
    return {
        **asdict(report),
        "ok": not report.wrong,
        "drift": [i.reference for i in report.images if i.drifted],
    }


def show_problems(problems: Sequence[Problem], job: Job) -> None:
    """Each in its line, errors and warnings counted, and as annotations at GitHub."""
    for problem in problems:
        output.note(str(problem))
    job.annotate(problems)
    errors = sum(problem.severity is Severity.ERROR for problem in problems)
    if errors:
        output.note(f"Errors: {errors}; warnings: {len(problems) - errors}.")


def show(report: Report) -> None:
    """Print a plan."""
    for title, columns, rows in _sections(report):
        output.line(title)
        if rows:
            output.table(columns, rows)
        output.line()


def summary(report: Report) -> str:
    """A plan in Markdown."""
    head = f"### Plan of template {github.text(report.name or report.folder)}"
    return "\n\n".join([head, *_markdown(_sections(report)), *_markdown([_problem_section(report.problems)])])


Section = tuple[str, Sequence[str], list[tuple[object, ...]]]


def _markdown(sections: Iterable[Section]) -> Iterable[str]:
    for title, columns, rows in sections:
        yield github.text(title)
        if rows:
            yield github.markdown_table(columns, rows)


def _sections(report: Report) -> Iterable[Section]:
    yield _head(report), (), []
    if report.images:
        columns = ("base image", "means now", "e2b.lock", "")
        yield f"Base images: {len(report.images)}", columns, [_image_row(image) for image in report.images]
    if report.files:
        yield _files_section(report.files)
    if report.uploads:
        columns = ("steps", "files", "size", "upload")
        yield "Files that steps copy:", columns, [_upload_row(upload) for upload in report.uploads]
    yield _steps_section(report)


def _head(report: Report) -> str:
    where = f"on {report.server}" if report.server else f"without a server: {report.why}"
    built = f"its build {report.template['number']} is the newest" if report.template else "it would be new"
    known = f"; {built}" if report.server else ""
    tags = ", ".join(report.tags)
    return f"Template {report.name} {where}{known}; a build would be tagged {tags}"


def _image_row(image: Image) -> tuple[object, ...]:
    drift = "drift: --update-lock accepts it" if image.drifted else image.why
    return (image.reference, image.digest[:_SHORT] or "unknown", image.locked[:_SHORT], drift)


def _files_section(files: Files) -> Section:
    rows: list[tuple[object, ...]] = [(path, output.size(size)) for path, size in files.largest]
    return (
        f"Context {files.folder}: {files.count} files, {output.size(files.bytes)}",
        ("largest", "size"),
        rows,
    )


_UPLOADS = {True: "not needed", False: "needed", None: "unknown"}


def _upload_row(upload: Upload) -> tuple[object, ...]:
    return (" ".join(upload.steps), upload.files, output.size(upload.bytes), _UPLOADS[upload.present])


_STATES = ("cached", "build", "unknown", "config", "unneeded")


def _steps_section(report: Report) -> Section:
    states = [step["state"] for step in report.steps]
    counted = ", ".join(f"{states.count(state)} {state}" for state in _STATES if state in states)
    columns = ("step", "stage", "where", "state", "last time", "last size", "instruction", "why")
    return f"Steps: {counted}", columns, [_step_row(step) for step in report.steps]


def _step_row(step: Mapping[str, Any]) -> tuple[object, ...]:
    last = step.get("last") or {}
    return (
        step["name"],
        step["stage"],
        step["where"],
        step["state"],
        output.duration(last.get("durationMs")),
        output.size(last.get("sizeBytes")),
        step["text"],
        step["reason"],
    )


def problem_summary(problems: Sequence[Problem]) -> str:
    """What is wrong, in Markdown."""
    return "\n\n".join(["### The template cannot be built", *_markdown([_problem_section(problems)])])


def failure(ready: Ready, reason: Mapping[str, Any]) -> Problem:
    """Why a build failed, at the line of its step. A step that is none of the plan's is at the top."""
    name, message = str(reason.get("step") or ""), str(reason.get("message") or "the server gave no reason")
    text = next((f"step {name}, {step.text}" for step in steps(ready.plan) if step.name == name), "the build")
    return Problem(*ready.place(name), 1, f"{text}: {message}")


BUILD_STEPS = ("step", "instruction", "cached", "time", "size")


def show_build(name: str, made: JSON) -> None:
    """What a build made, and what to do with it."""
    output.line(_built(name, made))
    output.line(f"Start a sandbox from it: berm sandbox create {name}")


def build_summary(name: str, made: JSON, problems: Sequence[Problem]) -> str:
    """What a build made, in Markdown."""
    sections: list[Section] = [
        (_built(name, made), BUILD_STEPS, list(map(build_step_row, made["steps"]))),
        _problem_section(problems),
    ]
    return "\n\n".join([f"### Template {github.text(name)}", *_markdown(sections)])


def _built(name: str, made: JSON) -> str:
    layers = [step for step in made["steps"] if step["key"]]
    cached = sum(bool(step["cached"]) for step in layers)
    return (
        f"Built {name}, build {made['number']}, in {output.duration(made['durationMs'])}: "
        f"{cached} of {len(layers)} layers from the cache, {output.size(made['sizeBytes'])}, "
        f"tagged {', '.join(made['tags'])}"
    )


def build_step_row(step: JSON) -> tuple[object, ...]:
    cached = "cached" if step["cached"] else ""
    sizes = output.duration(step.get("durationMs")), output.size(step.get("sizeBytes"))
    return (step["name"], step["text"], cached, *sizes)


def _problem_section(problems: Sequence[Problem]) -> Section:
    rows: list[tuple[object, ...]] = [
        (f"{p.file}:{p.line}:{p.column}", p.severity, p.message, p.hint) for p in problems
    ]
    return f"Problems: {len(rows)}", ("where", "severity", "what", "hint"), rows
