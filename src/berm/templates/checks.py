"""What a plan must be before anything is done with it: a client made it, and it is not to be trusted.

Names of directories, cache keys and paths are made from what is in a plan, so the forms are narrow.
"""

import math
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from berm.errors import BermError, Code
from berm.templates import modes
from berm.templates.decode import refusal
from berm.templates.plan import (
    VERSION,
    Account,
    Action,
    Base,
    Copy,
    Directory,
    Health,
    Inline,
    Mount,
    Plan,
    Run,
    Settings,
    Stage,
    Step,
)
from berm.templates.sources import is_exclusion

MAX_STAGES: Final = 200
MAX_STEPS: Final = 1000
"""Over all stages."""
MAX_ITEMS: Final = 1000
"""In any other list."""
MAX_NAME: Final = 256
MAX_PATH: Final = 4096
MAX_TEXT: Final = 131071
"""The kernel's limit for one argument or variable of a program, without its end (execve(2))."""

MAX_ID: Final = 65535
"""The largest user or group id of a sandbox."""
MAX_MODE: Final = 0o7777
_MAX_MEMORY_MB: Final = 65536
_MAX_SECONDS: Final = 86400.0

_HASH = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,3}")
_ACCOUNT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}")


def check(plan: Plan) -> None:
    """Raises BermError INVALID_ARGUMENT that names the field, its value and the rule."""
    _version(plan.version)
    _count("plan.stages", plan.stages, MAX_STAGES)
    _at_most("plan.stages", sum(len(stage.steps) for stage in plan.stages), MAX_STEPS, "steps")
    for number, stage in enumerate(plan.stages):
        _stage(f"plan.stages.{number}", stage, number)
    _need(bool(plan.stages), "plan.stages", plan.stages, "a list of at least one stage")
    _settings("plan.settings", plan.settings)


def is_files_hash(text: str) -> bool:
    """Whether uploaded files can be called this: a SHA-256 in hex."""
    return _HASH.fullmatch(text) is not None


def is_account(text: str) -> bool:
    """Whether an account can be called this."""
    return _ACCOUNT.fullmatch(text) is not None


def _version(version: int) -> None:
    if version != VERSION:
        raise BermError(
            Code.INVALID_ARGUMENT,
            f"plan.version is {version}, and this server knows version {VERSION}",
            "use a client and a server of the same release",
        )


def _stage(where: str, stage: Stage, number: int) -> None:
    _name(f"{where}.name", stage.name)
    _base(f"{where}.base", stage.base, number)
    for index, step in enumerate(stage.steps):
        _step(f"{where}.steps.{index}", step, number)


def _step(where: str, step: Step, stage: int) -> None:
    _name(f"{where}.name", step.name)
    _text(f"{where}.text", step.text)
    if step.action is not None:
        _action(f"{where}.action", step.action, stage)


def _action(where: str, action: Action, stage: int) -> None:
    match action:
        case Run():
            _run(where, action, stage)
        case Copy():
            _copy(where, action, stage)
        case Directory():
            _absolute(f"{where}.path", action.path)
            _name(f"{where}.owner", action.owner)
        case Account():
            _need(is_account(action.name), f"{where}.name", action.name, "a user name")


def _base(where: str, base: Base, stage: int) -> None:
    """Of something in the stage with this number; only stages before it are there."""
    match base.kind:
        case "image":
            _need(0 < len(base.name) <= MAX_NAME, f"{where}.name", base.name, "the name of an image")
            _need(_DIGEST.fullmatch(base.digest), f"{where}.digest", base.digest, "sha256: and 64 hex digits")
            return
        case "template":
            _need(0 < len(base.name) <= MAX_NAME, f"{where}.name", base.name, "the name of a template")
        case "stage":
            earlier = _NUMBER.fullmatch(base.name) and int(base.name) < stage
            _need(earlier, f"{where}.name", base.name, "the number of an earlier stage")
        case "scratch":
            _need(not base.name, f"{where}.name", base.name, "empty, as it is for scratch")
    _need(not base.digest, f"{where}.digest", base.digest, "empty, as it is for all but images")


def _run(where: str, run: Run, stage: int) -> None:
    _texts(f"{where}.argv", run.argv)
    _need(run.argv and run.argv[0], f"{where}.argv", run.argv, "a program and its arguments")
    _name(f"{where}.user", run.user)
    _absolute(f"{where}.workdir", run.workdir)
    _variables(f"{where}.env", run.env)
    _variables(f"{where}.args", run.args)
    _count(f"{where}.mounts", run.mounts, MAX_ITEMS)
    for number, mount in enumerate(run.mounts):
        _mount(f"{where}.mounts.{number}", mount, stage)


def _mount(where: str, mount: Mount, stage: int) -> None:
    _mount_target(where, mount)
    _relative(f"{where}.source", mount.source)
    _mount_content(where, mount, stage)
    _name(f"{where}.id", mount.id)
    if mount.kind in ("cache", "secret"):
        _need(mount.id, f"{where}.id", mount.id, f"the name of a {mount.kind}")
    _within(f"{where}.size_mb", mount.size_mb, _MAX_MEMORY_MB)
    _within(f"{where}.mode", mount.mode, MAX_MODE)
    _within(f"{where}.uid", mount.uid, MAX_ID)
    _within(f"{where}.gid", mount.gid, MAX_ID)


def _mount_target(where: str, mount: Mount) -> None:
    """A secret may be in a variable, and nowhere else."""
    if mount.env:
        _variables(f"{where}.env", {mount.env: ""})
    if mount.kind != "secret" or mount.target or not mount.env:
        _absolute(f"{where}.target", mount.target)
        _need(mount.target.strip("/."), f"{where}.target", mount.target, "a place below /")


def _mount_content(where: str, mount: Mount, stage: int) -> None:
    given = bool(mount.base) + bool(mount.files_hash)
    allowed = (1,) if mount.kind == "bind" else (0, 1) if mount.kind == "cache" else (0,)
    _need(given in allowed, where, mount.kind, "a mount with the one content that its kind has")
    if mount.base:
        _base(f"{where}.base", mount.base, stage)
    if mount.files_hash:
        _hash(f"{where}.files_hash", mount.files_hash)


def _copy(where: str, copy: Copy, stage: int) -> None:
    given = bool(copy.files_hash) + bool(copy.base) + bool(copy.inline)
    _need(given == 1, where, "a copy of nothing or of several", "one of files_hash, base and inline")
    if copy.files_hash:
        _hash(f"{where}.files_hash", copy.files_hash)
    if copy.base:
        _base(f"{where}.base", copy.base, stage)
    _sources(where, copy)
    _absolute(f"{where}.target", copy.target)
    _name(f"{where}.owner", copy.owner)
    _within(f"{where}.mode", copy.mode or 0, MAX_MODE)
    if copy.chmod:
        _name(f"{where}.chmod", copy.chmod)
        _need(modes.is_symbolic(copy.chmod), f"{where}.chmod", copy.chmod, "changes as chmod(1) takes them")


def _sources(where: str, copy: Copy) -> None:
    _count(f"{where}.sources", copy.sources, MAX_ITEMS)
    _need(copy.sources or copy.inline, f"{where}.sources", copy.sources, "a list of at least one")
    for number, source in enumerate(copy.sources):
        _relative(f"{where}.sources.{number}", source)
    _count(f"{where}.exclude", copy.exclude, MAX_ITEMS)
    for number, pattern in enumerate(copy.exclude):
        _need(is_exclusion(pattern), f"{where}.exclude.{number}", pattern, "a pattern as in .dockerignore")
    _count(f"{where}.inline", copy.inline, MAX_ITEMS)
    for number, file in enumerate(copy.inline):
        _inline(f"{where}.inline.{number}", file)


def _inline(where: str, file: Inline) -> None:
    _name(f"{where}.name", file.name)
    plain = file.name not in ("", ".", "..") and "/" not in file.name
    _need(plain, f"{where}.name", file.name, "the name of a file")


def _settings(where: str, settings: Settings) -> None:
    _variables(f"{where}.env", settings.env)
    _name(f"{where}.user", settings.user)
    if settings.workdir:
        _absolute(f"{where}.workdir", settings.workdir)
    for field in ("cmd", "entrypoint", "shell", "ports", "volumes", "onbuild"):
        _texts(f"{where}.{field}", getattr(settings, field))
    _texts(f"{where}.labels", (*settings.labels, *settings.labels.values()))
    for field in ("start_cmd", "ready_cmd", "stop_signal"):
        _text(f"{where}.{field}", getattr(settings, field))
    if settings.health:
        _health(f"{where}.health", settings.health)


def _health(where: str, health: Health) -> None:
    _texts(f"{where}.argv", health.argv)
    _need(health.argv, f"{where}.argv", health.argv, "a program and its arguments")
    for field in ("interval", "timeout", "start_period", "start_interval"):
        value: float = getattr(health, field)
        fits = math.isfinite(value) and 0 <= value <= _MAX_SECONDS
        _need(fits, f"{where}.{field}", value, f"from 0 to {_MAX_SECONDS:g} seconds")
    _within(f"{where}.retries", health.retries, MAX_ITEMS)


def _absolute(where: str, path: str) -> None:
    fits = path.startswith("/") and len(path.encode()) < MAX_PATH and ".." not in path.split("/")
    _need(fits, where, path, "an absolute path without ..")


def _relative(where: str, path: str) -> None:
    fits = not path.startswith("/") and len(path.encode()) < MAX_PATH and ".." not in path.split("/")
    _need(fits, where, path, "a relative path without ..")


def _hash(where: str, text: str) -> None:
    _need(is_files_hash(text), where, text, "a SHA-256 in hex")


def _name(where: str, text: str) -> None:
    _need(
        len(text) <= MAX_NAME and text.isprintable(), where, text, f"a name of at most {MAX_NAME} characters"
    )


def _text(where: str, text: str) -> None:
    _need(len(text.encode()) <= MAX_TEXT, where, text, f"text of at most {MAX_TEXT} bytes")


def _texts(where: str, texts: Collection[str]) -> None:
    _count(where, texts, MAX_ITEMS)
    for text in texts:
        _text(where, text)


def _variables(where: str, variables: Mapping[str, str]) -> None:
    _count(where, variables, MAX_ITEMS)
    for name, value in variables.items():
        _need(name and "=" not in name, where, name, "the name of a variable")
        _text(f"{where}.{name}", f"{name}={value}")


def _count(where: str, items: Collection[Any], most: int) -> None:
    _at_most(where, len(items), most, "items")


def _at_most(where: str, number: int, most: int, what: str) -> None:
    if number > most:
        raise BermError(Code.INVALID_ARGUMENT, f"{where} has {number} {what}, which is more than {most}")


def _within(where: str, value: int, most: int) -> None:
    _need(0 <= value <= most, where, value, f"from 0 to {most}")


def _need(holds: object, where: str, value: object, rule: str) -> None:
    if not holds:
        raise refusal(where, value, rule)
