"""`berm template build`: send a plan to the server, follow the build, say what came of it."""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial

from berm import config
from berm.cli import output, template_calls, template_images, template_log, template_report
from berm.cli.client import JSON, Client
from berm.cli.git import origin
from berm.cli.github import Job
from berm.cli.signals import LEAVING, handling, leave
from berm.cli.target import Target
from berm.cli.template_calls import Begun
from berm.cli.template_plan import Ready, prepare, problem_at
from berm.cli.template_secrets import secrets
from berm.cli.template_source import Source, Wanted, load
from berm.errors import BermError
from berm.templates.base import is_own
from berm.templates.problems import DefinitionError, Problem, Severity, refuse

BAD = 1
"""The exit code for a template that is wrong, and for a step that failed."""


def run(wanted: Wanted, target: Target) -> int:
    """Build, and return the exit code. Raises BermError for what is no fault of the template."""
    return guarded(wanted, partial(_run, wanted, target))


def guarded(wanted: Wanted, command: Callable[[Job], int]) -> int:
    """Run a command about a template's files; what is wrong with those is shown in full."""
    with Job(config.load_runner()) as job:
        try:
            return command(job)
        except DefinitionError as error:
            if wanted.as_json:
                output.as_json({"ok": False, "problems": [asdict(problem) for problem in error.problems]})
            template_report.show_problems(error.problems, job)
            job.summarize(template_report.problem_summary(error.problems))
            return BAD


def validate(wanted: Wanted) -> int:
    """Check a template's files without asking anybody about anything."""
    return guarded(wanted, partial(_validate, wanted))


def _validate(wanted: Wanted, job: Job) -> int:
    source = load(wanted)
    with ExitStack() as stack:
        ready = prepare(source, {}, stack, strict=False, fetch=False)
    if wanted.as_json:
        output.as_json({"ok": True, "problems": [asdict(problem) for problem in ready.problems]})
    template_report.show_problems(ready.problems, job)
    output.note(f"{source.definition.file} is right.")
    return 0


def _run(wanted: Wanted, target: Target, job: Job) -> int:
    source = load(wanted)
    given = secrets(wanted.secrets)
    with target.api() as api, ExitStack() as stack:
        ready = _ready(api, source, stack)
        template_report.show_problems(ready.problems, job)
        name = template_calls.name_of(api, source)
        lacking = template_calls.needed(ready, template_calls.preview(api, name, ready))
        begun = template_calls.begin(api, name, source, origin(source.definition.folder, job.runner))
        with _cancelled_when_left(begun):
            for digest in lacking:
                begun.send(digest, ready.selections[digest], compress=not target.is_local)
            begun.start(ready, given, trial=wanted.trial)
            status = template_log.follow(api, begun.path, _show_line)
        if status["status"] == "error":
            return _failed(ready, status, job)
        return _succeeded(name, ready, begun, job)


def _ready(api: Client, source: Source, stack: ExitStack) -> Ready:
    references = source.graph.images
    answers = template_images.from_server(
        api, [template_images.pinned(name, source.pins) for name in references]
    )
    found = template_images.locked(answers, references, source.pins)
    ready = prepare(source, found, stack, strict=True, fetch=True)
    refuse(_own_drift(ready))
    return ready


def _own_drift(ready: Ready) -> Iterator[Problem]:
    """The server's own base cannot be pinned by asking for an older one."""
    pins = ready.source.pins.images
    for name, image in ready.images.items():
        if is_own(name) and name in pins and pins[name].digest != image.digest:
            message = f"{name} is {image.digest} on this server; e2b.lock has {pins[name].digest}"
            yield problem_at(
                ready.source.graph, name, message, "accept it with --update-lock", Severity.ERROR
            )


@contextmanager
def _cancelled_when_left(begun: Begun) -> Iterator[None]:
    """Whatever ends the command early, the server does not go on building for nobody."""
    leaving = {signal.SIGINT: partial(leave, signal.SIGINT), **LEAVING}
    with handling(leaving):
        try:
            yield
        except BaseException:
            with suppress(BermError):
                begun.cancel()
                output.note("The build was cancelled.")
            raise


def _show_line(entry: JSON) -> None:
    output.note(template_log.shown(entry))


def _failed(ready: Ready, status: JSON, job: Job) -> int:
    reason = status.get("reason", {})
    problem = template_report.failure(ready, reason)
    if ready.source.wanted.as_json:
        output.as_json({"ok": False, "problems": [asdict(problem)], "reason": reason})
    template_report.show_problems([problem], job)
    job.summarize(template_report.problem_summary([problem]))
    return BAD


def _succeeded(name: str, ready: Ready, begun: Begun, job: Job) -> int:
    wanted = ready.source.wanted
    if wanted.trial:
        output.note("It can be built. Nothing of it was kept.")
        if wanted.as_json:
            output.as_json({"ok": True, "trial": True})
        return 0
    _write_lock(ready)
    made = begun.detail()
    if wanted.as_json:
        output.as_json({"ok": True, "name": name, **made})
    else:
        template_report.show_build(name, made)
    job.summarize(template_report.build_summary(name, made, ready.problems))
    return 0


def _write_lock(ready: Ready) -> None:
    """What was used is written down: what was not in e2b.lock, or everything when it is to be updated."""
    source = ready.source
    kept = {} if source.wanted.update_lock else {name: pin.digest for name, pin in source.lock.images.items()}
    digests = {name: image.digest for name, image in ready.images.items()}
    changed = source.lock.updated({**kept, **digests}, datetime.now(UTC))
    if changed != source.lock:
        changed.write(source.lock_file)
        output.note(f"Wrote {source.lock_file}: keep it in the repository.")
