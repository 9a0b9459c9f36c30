"""E2B's build steps to a plan."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from berm.errors import BermError, Code
from berm.templates import suspects
from berm.templates.checks import is_account, is_files_hash
from berm.templates.findings import InstructionError, nearest, shown
from berm.templates.operands import mode, owner
from berm.templates.paths import absolute, relative
from berm.templates.plan import Account, Action, Base, Copy, Directory, Plan, Run, Settings, Stage, Step
from berm.templates.state import PATH
from berm.templates.text import HIDDEN, brief

USER: Final = "user"
"""Who steps begin as; the account is made in any image."""

_PATTERN = re.compile(r"[*?\[]|\{[^}]*(?:,|\.\.)[^}]*\}|[@!+]\(")
_VARIABLE = re.compile(
    r"\\(?P<escaped>[$\\])|\$(?P<name>\w+)|\$\{(?P<braced>\w+)(?:(?P<operator>:?-)(?P<default>[^{}]*))?\}"
)
_NAME = re.compile(r"[^=\0]+")


@dataclass(frozen=True, slots=True)
class BuildStep:
    """As it is on the wire."""

    type: str
    args: tuple[str, ...] = ()
    files_hash: str = ""
    force: bool = False


@dataclass(frozen=True, slots=True)
class _State:
    env: Mapping[str, str]
    user: str
    workdir: str

    def expand(self, text: str) -> str:
        """`$NAME`, `${NAME}` and `${NAME:-default}`; a backslash before a dollar keeps it."""
        known = {"PATH": PATH, "HOME": _home(self.user), "USER": _account(self.user), **self.env}

        def value(found: re.Match[str]) -> str:
            if found["escaped"]:
                return found["escaped"]
            name = found["name"] or found["braced"]
            absent = name not in known or (found["operator"] == ":-" and not known[name])
            return found["default"] or "" if absent else known[name]

        return _VARIABLE.sub(value, text)


_Done = tuple[_State, Action | None, str]
"""What the next step finds, what is to be done, and how the step is shown."""


def plan_of(steps: Sequence[BuildStep], base: Base, settings: Settings | None = None) -> Plan:
    """What the steps do on a base with these settings; steps are called "1", "2", ...

    On an image they begin as `user` in its home, on a template as that one ends. Raises BermError
    INVALID_ARGUMENT with the step's number and what is wrong with it.
    """
    before = settings or Settings()
    state = _begun(base, before)
    done: list[Step] = []
    for number, step in enumerate(steps, 1):
        try:
            state, action, text = _step(state, step)
        except InstructionError as error:
            where = f"step {number} ({brief(step.type)})"
            raise BermError(Code.INVALID_ARGUMENT, f"{where}: {error.message}", error.hint) from None
        done.append(Step(brief(text), name=str(number), action=action, force=step.force))
    # An image's health check is of the program that the image starts, which nobody starts here.
    after = replace(before, env=state.env, user=state.user, workdir=state.workdir, onbuild=(), health=None)
    return Plan((Stage("", base, tuple(done)),), after, provision="first")


def _begun(base: Base, settings: Settings) -> _State:
    """What an image says of its user and directory does not count."""
    user, workdir = (settings.user, settings.workdir) if base.kind == "template" else ("", "")
    user = user or USER
    return _State(dict(settings.env), user, workdir or _home(user))


def _account(user: str) -> str:
    return user.partition(":")[0]


def _home(user: str) -> str:
    name = _account(user)
    return "/root" if name in ("root", "0") else f"/home/{name}"


def _step(state: _State, step: BuildStep) -> _Done:
    if step.type not in _STEPS:
        raise InstructionError("this type of step is not known", nearest(step.type, _STEPS))
    if any("\0" in text for text in step.args):
        raise InstructionError("args hold a NUL, which nothing can", "remove it")
    return _STEPS[step.type](state, step)


def _args(step: BuildStep, least: int, most: int, names: str) -> tuple[str, ...]:
    if not least <= len(step.args) <= most:
        raise InstructionError(f"args has {len(step.args)} items", f"it is [{names}]")
    return (*step.args, *[""] * (most - len(step.args)))


def _copy(state: _State, step: BuildStep) -> _Done:
    source, target, user, bits = _args(step, 2, 4, "source, target, owner, mode")
    if not source:
        raise InstructionError("args[0], the source, is empty", "name a file or directory")
    if not is_files_hash(step.files_hash):
        raise InstructionError(f"filesHash is {shown(step.files_hash)}", "a SHA-256 in hex of what is copied")
    action = Copy(
        (_without_pattern(source),),
        absolute(state.expand(target), state.workdir),
        files_hash=step.files_hash,
        owner=_owner(owner("args[2], the owner,", user) if user else state.user),
        mode=mode("args[3], the mode,", bits.removeprefix("0o")) if bits else None,
    )
    return state, action, f"COPY {source} {target}"


def _without_pattern(source: str) -> str:
    """The client sent what a pattern matched, so all below the directory before it is wanted."""
    names = source.split("/")
    first = next((place for place, name in enumerate(names) if _PATTERN.search(name)), len(names))
    return relative("/".join(names[:first]))


def _owner(user: str) -> str:
    return user if ":" in user else f"{user}:{user}"


def _run(state: _State, step: BuildStep) -> _Done:
    command, user = _args(step, 1, 2, "command, user")
    if not command.strip():
        raise InstructionError("args[0], the command, is empty", "name a command")
    if not user.isprintable():
        raise InstructionError(f"args[1], the user, is {shown(user)}", "the name of a user")
    argv = ("/bin/bash", "-l", "-c", command)
    return state, Run(argv, user or state.user, state.workdir, state.env), f"RUN {command}"


def _env(state: _State, step: BuildStep) -> _Done:
    """All values see the environment before the step."""
    if not step.args or len(step.args) % 2:
        raise InstructionError(f"args has {len(step.args)} items", "it is [name, value, name, value, ...]")
    names = step.args[::2]
    wrong = next((name for name in names if not _NAME.fullmatch(name)), None)
    if wrong is not None:
        raise InstructionError(f"args has the name {shown(wrong)}", "a name has no '=' and is not empty")
    found = {name: state.expand(value) for name, value in zip(names, step.args[1::2], strict=True)}
    pairs = (
        f"{name}={HIDDEN if suspects.is_secret(name, value) else value}" for name, value in found.items()
    )
    return replace(state, env={**state.env, **found}), None, f"ENV {' '.join(pairs)}"


def _workdir(state: _State, step: BuildStep) -> _Done:
    (path,) = _args(step, 1, 1, "path")
    target = state.expand(path)
    if not target:
        raise InstructionError("args[0], the path, is empty", "name a directory")
    target = absolute(target, state.workdir).rstrip("/") or "/"
    return replace(state, workdir=target), Directory(target, _owner(state.user)), f"WORKDIR {path}"


def _user(state: _State, step: BuildStep) -> _Done:
    (user,) = _args(step, 1, 1, "user")
    name = _account(owner("args[0], the user,", user))
    if not is_account(name):
        raise InstructionError(f"args[0], the user, is {shown(user)}", "letters, digits, '-', '_' and '.'")
    exists = name in ("root", USER) or name.isdecimal()
    return replace(state, user=user), None if exists else Account(name), f"USER {user}"


_STEPS: Final[Mapping[str, Callable[[_State, BuildStep], _Done]]] = {
    "COPY": _copy,
    "ENV": _env,
    "RUN": _run,
    "USER": _user,
    "WORKDIR": _workdir,
}
