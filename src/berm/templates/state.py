"""The configuration of a stage, and how instructions that touch no file change it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from berm.templates import durations
from berm.templates.dockerfile import Instruction
from berm.templates.findings import InstructionError, nearest, shown
from berm.templates.keys import PROXIES
from berm.templates.operands import expand, flag, owner, split
from berm.templates.paths import absolute
from berm.templates.plan import Directory, Health, Settings

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for on a base that does not say."""

_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_MOST_PORTS: Final = 1000
_SIGNAL = re.compile(r"(?:SIG)?[A-Z][A-Z0-9]*(?:[+-]\d{1,2})?|\d{1,2}", re.IGNORECASE)
_TIMES: Final = {
    "interval": "interval",
    "timeout": "timeout",
    "start-period": "start_period",
    "start-interval": "start_interval",
}
_LEAST_TIME: Final = 0.001
_MOST_TIME: Final = 86400.0
_RETRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Scope:
    """Where the variables of a stage come from, beside its own instructions."""

    escape: str
    globals: Mapping[str, str]
    build_args: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class State:
    """What an instruction finds, and leaves to the next one."""

    settings: Settings
    scope: Scope
    args: Mapping[str, str] = field(default_factory=dict)
    """Arguments that were declared and have a value."""
    own_cmd: bool = False
    """Whether CMD stood in this stage: ENTRYPOINT clears an inherited one."""

    def expand(self, text: str, quotes: bool = True) -> str:
        """Text with its variables replaced. Raises InstructionError."""
        return expand(text, self.variables(), self.scope.escape, quotes)

    def split(self, text: str) -> tuple[str, ...]:
        """As `expand`, but blanks in the values of variables divide words."""
        return split(text, self.variables(), self.scope.escape)

    def variables(self) -> Mapping[str, str]:
        """A variable of the environment hides an argument of that name."""
        return {**self.args, **self.settings.env}

    def run_env(self) -> Mapping[str, str]:
        """A proxy that the Dockerfile declares counts as what is built, so it is among the variables."""
        proxies = {name: value for name, value in self.args.items() if name in PROXIES}
        return {**proxies, **self.settings.env}

    def run_args(self) -> Mapping[str, str]:
        """Arguments that a command sees: those declared, and proxies, which need no declaration."""
        proxies = {name: value for name, value in self.scope.build_args.items() if name in PROXIES}
        seen = self.run_env()
        return {name: value for name, value in {**proxies, **self.args}.items() if name not in seen}

    @property
    def workdir(self) -> str:
        """Where relative paths begin: absolute."""
        return self.settings.workdir or "/"

    def path(self, text: str) -> str:
        return absolute(self.expand(text), self.workdir)


def begun(settings: Settings, scope: Scope, args: Mapping[str, str] | None = None) -> State:
    """The state right after FROM; `args` are those of an earlier stage that this one begins with."""
    env = dict(settings.env) if "PATH" in settings.env else {"PATH": PATH, **settings.env}
    return State(replace(settings, env=env, onbuild=()), scope, dict(args or {}))


def shell_form(state: State, instruction: Instruction) -> tuple[str, ...]:
    """A command as a list of words, with the shell before it if it is not in the JSON form."""
    if instruction.exec_form is not None:
        return instruction.exec_form
    return (*state.settings.shell, instruction.text)


def set_workdir(state: State, instruction: Instruction) -> tuple[State, Directory]:
    text = state.expand(instruction.words[0])
    if not text:
        raise InstructionError("WORKDIR is empty", "name a directory, and check the variables in it")
    path = absolute(text, state.workdir).rstrip("/") or "/"
    return _with(state, workdir=path), Directory(path)


def _with(state: State, **changes: object) -> State:
    return replace(state, settings=replace(state.settings, **changes))  # type: ignore[arg-type]


def _expanded(state: State, instruction: Instruction) -> dict[str, str]:
    """Names and values; all see the environment before the instruction."""
    pairs = [(state.expand(name), state.expand(value or "")) for name, value in instruction.pairs]
    for name, value in pairs:
        if not name or "=" in name or "\0" in name + value:
            raise InstructionError(f"{instruction.keyword} cannot have the name {shown(name)}", "name=value")
    return dict(pairs)


def _env(state: State, instruction: Instruction) -> State:
    return _with(state, env={**state.settings.env, **_expanded(state, instruction)})


def _label(state: State, instruction: Instruction) -> State:
    return _with(state, labels={**state.settings.labels, **_expanded(state, instruction)})


def _arg(state: State, instruction: Instruction) -> State:
    """A value given to the build wins over the default, and that over the one from before the first FROM."""
    given, found = state.scope.build_args, dict(state.args)
    for name, default in instruction.pairs:
        if name in given:
            found[name] = given[name]
        elif default is not None:
            found[name] = state.expand(default)
        elif name in state.scope.globals:
            found[name] = state.scope.globals[name]
    return replace(state, args=found)


def _user(state: State, instruction: Instruction) -> State:
    return _with(state, user=owner("USER", state.expand(instruction.words[0])))


def _shell(state: State, instruction: Instruction) -> State:
    if not instruction.exec_form:
        raise InstructionError("SHELL takes a list of words", 'SHELL ["/bin/bash", "-c"]')
    return _with(state, shell=instruction.exec_form)


def _cmd(state: State, instruction: Instruction) -> State:
    return replace(_with(state, cmd=shell_form(state, instruction)), own_cmd=True)


def _entrypoint(state: State, instruction: Instruction) -> State:
    cmd = state.settings.cmd if state.own_cmd else ()
    return _with(state, entrypoint=shell_form(state, instruction), cmd=cmd)


def _expose(state: State, instruction: Instruction) -> State:
    found = [port for word in instruction.words for part in state.split(word) for port in _ports(part)]
    return _with(state, ports=tuple(dict.fromkeys((*state.settings.ports, *found))))


def _ports(text: str) -> list[str]:
    found = _PORT.fullmatch(text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if found is None or not 0 < first <= last <= 65535 or last - first >= _MOST_PORTS:
        raise InstructionError(
            f"EXPOSE has {shown(text)}", "a port from 1 to 65535, such as 8080, 53/udp or 8000-8010"
        )
    return [f"{port}/{(found[3] or 'tcp').lower()}" for port in range(first, last + 1)]


def _volume(state: State, instruction: Instruction) -> State:
    found = [state.expand(word) for word in instruction.words]
    if not all(found):
        raise InstructionError(
            "VOLUME has an empty path", "name directories, and check the variables in them"
        )
    return _with(state, volumes=tuple(dict.fromkeys((*state.settings.volumes, *found))))


def _stop_signal(state: State, instruction: Instruction) -> State:
    signal = state.expand(instruction.words[0])
    if not _SIGNAL.fullmatch(signal):
        raise InstructionError(f"STOPSIGNAL has {shown(signal)}", "a name such as SIGTERM, or a number")
    return _with(state, stop_signal=signal)


def _maintainer(state: State, instruction: Instruction) -> State:
    return _with(state, labels={**state.settings.labels, "maintainer": instruction.text})


def _onbuild(state: State, instruction: Instruction) -> State:
    if instruction.nested is None:
        raise InstructionError("ONBUILD has no instruction", "ONBUILD RUN make")
    return _with(state, onbuild=(*state.settings.onbuild, instruction.nested.source))


def _health(state: State, instruction: Instruction) -> State:
    if instruction.nested is None:
        return _with(state, health=None)
    argv = shell_form(state, instruction.nested)
    times = {field: time for name, field in _TIMES.items() if (time := _time(instruction, name))}
    retries = _retries(flag(instruction, "retries")) or _RETRIES
    return _with(state, health=Health(argv, retries=retries, **times))


def _time(instruction: Instruction, name: str) -> float:
    """0 stands for the default."""
    text = flag(instruction, name)
    value = durations.seconds(text) if text is not None else 0.0
    if value is None or not (value == 0 or _LEAST_TIME <= value <= _MOST_TIME):
        raise InstructionError(
            f"HEALTHCHECK has --{name}={shown(text or '')}", "a time such as 30s, 1m30s or 500ms"
        )
    return value


def _retries(text: str | None) -> int:
    if text is not None and not re.fullmatch(r"[0-9]{1,3}", text):
        raise InstructionError(f"HEALTHCHECK has --retries={shown(text)}", "a number from 1 to 999")
    return int(text or 0)


CONFIGURE: Final[Mapping[str, Callable[[State, Instruction], State]]] = {
    "ARG": _arg,
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _health,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild,
    "SHELL": _shell,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
}
"""What changes the configuration only."""


def unknown(keyword: str) -> InstructionError:
    """The error for an instruction that nothing here carries out."""
    return InstructionError(f"{keyword} is not supported", nearest(keyword, CONFIGURE))
