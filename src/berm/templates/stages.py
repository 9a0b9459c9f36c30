"""The stages of one Dockerfile: what each is called, begins with, and copies from."""

import platform as machine
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from berm.templates import mounts, words
from berm.templates.dockerfile import Dockerfile, Instruction
from berm.templates.findings import Findings, InstructionError, shown
from berm.templates.operands import expand, flag
from berm.templates.plan import SCRATCH

EXTENDED: Final = "base"
"""What `FROM` calls the last stage of the Dockerfile that is extended."""

Reference = int | str
"""What a name stands for: the place of a stage among all, or an image; empty if there was an error."""

_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
_LONGEST_NAME: Final = 128
_RESERVED: Final = (SCRATCH, "context")
_PART = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_IMAGE = re.compile(
    rf"(?:(?=[^/]*[.:]|localhost/){_HOST}/)?{_PART}(?:/{_PART})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
_LONGEST_IMAGE: Final = 256
_MACHINES: Final = {
    "x86_64": "amd64", "x86-64": "amd64", "amd64/v1": "amd64",
    "aarch64": "arm64", "arm64/v8": "arm64",
    "armv7l": "arm/v7", "armhf": "arm/v7", "arm": "arm/v7",
    "i386": "386", "i686": "386",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class NamedStage:
    """A stage as it stands in its file. `place` counts over all files from 0."""

    file: str
    escape: str
    globals: Mapping[str, str]
    place: int
    name: str
    """Its number in the file if it has no name."""
    origin: Instruction
    body: tuple[Instruction, ...]
    base: Reference
    sources: Mapping[str, Reference]
    """What `--from` of its instructions means, by the text that is written there."""

    def needs(self) -> set[int]:
        """The places of the stages that it is made from."""
        return {place for place in (self.base, *self.sources.values()) if isinstance(place, int)}


@dataclass(frozen=True, slots=True)
class _Unit:
    """One Dockerfile."""

    file: str
    escape: str
    globals: Mapping[str, str]
    places: range
    """Of its stages."""
    names: dict[str, int]
    """The places of the stages that were named so far."""


def this_platform() -> str:
    """What this machine runs, as in `FROM --platform`."""
    return _normal(machine.machine())


def predefined(platform: str, target: str, build_args: Mapping[str, str]) -> Mapping[str, str]:
    """Arguments that every build has; those that are given to it win."""
    system, architecture, *variant = _normal(platform).split("/")
    parts = {"PLATFORM": platform, "OS": system, "ARCH": architecture, "VARIANT": "".join(variant)}
    both = {f"{side}{part}": value for side in ("TARGET", "BUILD") for part, value in parts.items()}
    known = {**both, "TARGETSTAGE": target or "default"}
    return {name: build_args.get(name, value) for name, value in known.items()}


def stages_of(
    dockerfile: Dockerfile,
    always: Mapping[str, str],
    build_args: Mapping[str, str],
    first: int,
    findings: Findings,
) -> Iterator[NamedStage]:
    """The stages of a file; `first` is the place of the first, those before are of the file it extends."""
    before, groups = _grouped(dockerfile.instructions)
    given = _globals(dockerfile, before, always, build_args, findings)
    names = {EXTENDED: first - 1} if first else {}
    places = range(first, first + len(groups))
    unit = _Unit(dockerfile.file, dockerfile.escape, given, places, names)
    begun = [_begun(unit, group[0], place, findings) for place, group in zip(places, groups, strict=True)]
    for place, group, (name, base) in zip(places, groups, begun, strict=True):
        sources = _sources(unit, group[1:], findings)
        yield NamedStage(
            unit.file, unit.escape, unit.globals, place, name, group[0], tuple(group[1:]), base, sources
        )


def _normal(platform: str) -> str:
    system, slash, architecture = platform.lower().partition("/")
    system, architecture = (system, architecture) if slash else ("linux", system)
    return f"{system}/{_MACHINES.get(architecture, architecture)}"


def _grouped(instructions: Iterable[Instruction]) -> tuple[list[Instruction], list[list[Instruction]]]:
    """What stands before the first FROM, and the stages."""
    before: list[Instruction] = []
    groups: list[list[Instruction]] = []
    for instruction in instructions:
        if instruction.keyword == "FROM":
            groups.append([])
        (groups[-1] if groups else before).append(instruction)
    return before, groups


def _globals(
    dockerfile: Dockerfile,
    before: Iterable[Instruction],
    always: Mapping[str, str],
    build_args: Mapping[str, str],
    findings: Findings,
) -> Mapping[str, str]:
    """Arguments before the first FROM see those before them, even in one instruction."""
    known = dict(always)
    for instruction in before:
        with findings.at(dockerfile.file, instruction):
            for name, value in instruction.pairs:
                if name in build_args:
                    known[name] = build_args[name]
                elif value is not None:
                    known[name] = expand(value, known, dockerfile.escape)
    return known


# FROM


def _begun(unit: _Unit, origin: Instruction, place: int, findings: Findings) -> tuple[str, Reference]:
    """The name of a stage and what it begins with; its name is known to those after it."""
    base: Reference = ""
    name = ""
    with findings.at(unit.file, origin):
        _check_platform(unit, flag(origin, "platform"))
    with findings.at(unit.file, origin):
        base = _begins_with(unit, origin.words[0], place)
    with findings.at(unit.file, origin):
        name = _stage_name(unit, origin)
    if name:
        unit.names[name] = place
    return name or str(place - unit.places.start), base


def _stage_name(unit: _Unit, origin: Instruction) -> str:
    if len(origin.words) == 1:
        return ""
    if len(origin.words) != 3 or origin.words[1].upper() != "AS":
        raise InstructionError("FROM takes an image, and a name after AS", "FROM image AS name")
    text, name = origin.words[2], origin.words[2].lower()
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        hint = "it begins with a letter, and has letters, digits, '-', '_' and '.'"
        raise InstructionError(f"{shown(text)} cannot be the name of a stage", hint)
    if name in _RESERVED:
        raise InstructionError(
            f"a stage cannot be called {name}: that stands for something else", "rename it"
        )
    if unit.names.get(name, -1) in unit.places:
        raise InstructionError(f"there is a stage {shown(name)} already", "give each stage a name of its own")
    return name


def _check_platform(unit: _Unit, wanted: str | None) -> None:
    own = unit.globals["BUILDPLATFORM"]
    platform = expand(wanted, unit.globals, unit.escape) if wanted is not None else own
    if _normal(platform) != _normal(own):
        hint = f"leave --platform out, or use {own}"
        raise InstructionError(f"the platform {shown(platform)} cannot be built on {own}", hint)


def _begins_with(unit: _Unit, text: str, place: int) -> Reference:
    name = expand(text, unit.globals, unit.escape)
    if name.isdecimal():
        number = unit.places.start + int(name)
        if number >= place:
            raise InstructionError(f"there is no stage {name} before this one", "stages are numbered from 0")
        return number
    return _known(unit, name, text)


def _known(unit: _Unit, name: str, text: str) -> Reference:
    """A stage that has a name already, or else an image."""
    if name.lower() in unit.names:
        return unit.names[name.lower()]
    if _IMAGE.fullmatch(name) and len(name) <= _LONGEST_IMAGE:
        return name
    unset = sorted(words.used(text, unit.escape) - unit.globals.keys())
    hint = "an image is called name:tag or registry/name:tag, in lower case"
    if unset:
        hint = f"{', '.join(unset)} has no value here: declare it by ARG before the first FROM"
    raise InstructionError(f"{shown(name)} is not the name of an image or of a stage", hint)


# --from of COPY and of RUN --mount


def _sources(unit: _Unit, body: Sequence[Instruction], findings: Findings) -> Mapping[str, Reference]:
    found: dict[str, Reference] = {}
    for instruction in body:
        for text in froms(instruction):
            found.setdefault(text, "")
            with findings.at(unit.file, instruction):
                found[text] = _refers_to(unit, text)
    return found


def froms(instruction: Instruction) -> Iterator[str]:
    """What the flags of an instruction name as a stage or image to take files from."""
    for name, value in instruction.flags:
        source = mounts.source(value) if name == "mount" else value if name == "from" else None
        if source is not None:
            yield source


def _refers_to(unit: _Unit, text: str) -> Reference:
    """Stages are put in order before their own arguments have values, so those do not count."""
    local = sorted(words.used(text, unit.escape) - unit.globals.keys())
    if local:
        hint = "declare it before the first FROM, or name the image in a stage: FROM image AS name"
        raise InstructionError(f"from={text} cannot use {', '.join(local)}, which belongs to a stage", hint)
    name = expand(text, unit.globals, unit.escape)
    if name.isdecimal():
        if int(name) >= len(unit.places):
            hint = f"stages are numbered from 0 to {len(unit.places) - 1}"
            raise InstructionError(f"there is no stage {name}", hint)
        return unit.places[int(name)]
    return _known(unit, name, text)
