"""RUN."""

import re
import shlex
from typing import Final

from berm.templates.dockerfile import Heredoc, Instruction
from berm.templates.findings import InstructionError, nearest, shown
from berm.templates.inputs import Inputs
from berm.templates.mounts import Around, mounts_of
from berm.templates.operands import flag, refuse
from berm.templates.plan import Run
from berm.templates.state import State, shell_form

_REFUSED: Final = {"device": "a sandbox has no devices of the machine"}
_CHOICES: Final = {
    "network": (("default", "none"), {"host": "a sandbox has a network of its own: use default or none"}),
    "security": (("sandbox",), {"insecure": "a build has no more rights than a sandbox"}),
}
_INTERPRETER = re.compile(r"#![ \t]*([^ \t\n]+)[ \t]*([^\n]*)")
_SCRIPT: Final = """\
script=$(mktemp) && cat >"$script" <<'{end}' || exit
{content}{end}
{command} "$script"
status=$?
rm -f "$script"
exit $status"""
"""A script with an interpreter of its own: most of those can only read a file. It is gone afterwards."""


def run(state: State, instruction: Instruction, inputs: Inputs) -> Run:
    """What RUN does. Raises InstructionError."""
    refuse(instruction, _REFUSED)
    _choice(state, instruction, "security", "sandbox")
    around = Around(state.workdir, state.expand, inputs.origin, inputs.upload)
    flags = [value for name, value in instruction.flags if name == "mount"]
    return Run(
        _argv(state, instruction),
        user=state.settings.user or "root",
        workdir=state.workdir,
        env=state.run_env(),
        args=state.run_args(),
        mounts=mounts_of(flags, around),
        network=_choice(state, instruction, "network", "default") == "default",
    )


def _choice(state: State, instruction: Instruction, name: str, default: str) -> str:
    text = flag(instruction, name)
    value = state.expand(text) if text is not None else default
    allowed, refused = _CHOICES[name]
    if value in refused:
        raise InstructionError(f"RUN --{name}={value} is not supported", refused[value])
    if value not in allowed:
        raise InstructionError(f"RUN --{name} has {shown(value)}", nearest(value, allowed))
    return value


def _argv(state: State, instruction: Instruction) -> tuple[str, ...]:
    argv = _heredoc(state, instruction) if instruction.heredocs else shell_form(state, instruction)
    if not argv or not argv[0] or (instruction.exec_form is None and not argv[-1].strip()):
        raise InstructionError("RUN has no command", "RUN make")
    if any("\0" in word for word in argv):
        raise InstructionError("RUN has a NUL in its command", "remove it")
    return argv


def _heredoc(state: State, instruction: Instruction) -> tuple[str, ...]:
    """A heredoc alone is a script; others belong to the command before them, and the shell reads them."""
    first = instruction.heredocs[0]
    if len(instruction.heredocs) == 1 and _unspaced(instruction.text) == _unspaced(first.word):
        found = _INTERPRETER.match(first.content)
        return _script(first, found) if found else (*state.settings.shell, first.content)
    bodies = "".join(f"\n{document.content}{document.name}" for document in instruction.heredocs)
    return (*state.settings.shell, instruction.text + bodies)


def _unspaced(text: str) -> str:
    return re.sub(r"\s", "", text)


def _script(document: Heredoc, found: re.Match[str]) -> tuple[str, ...]:
    """As the kernel starts a script: what follows the interpreter is one argument."""
    command = " ".join(shlex.quote(word) for word in (found[1], found[2].strip()) if word)
    end = document.name
    while f"{end}\n" in document.content or not re.fullmatch(r"\w+", end):
        end = re.sub(r"\W", "_", end) + "_"
    return ("/bin/sh", "-c", _SCRIPT.format(end=end, content=document.content, command=command))
