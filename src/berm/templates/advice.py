"""The rules of `lint`: each looks at a template that can be built, and gives advice."""

import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, takewhile
from typing import Final, Protocol

from berm.templates import suspects
from berm.templates.base import is_own
from berm.templates.copies import is_url
from berm.templates.definition import Definition
from berm.templates.dockerfile import Dockerfile, Instruction
from berm.templates.findings import Place, shown
from berm.templates.graph import Graph, GraphStage
from berm.templates.plan import Base, Copy, Plan, Stage
from berm.templates.stages import froms

_ROOT: Final = ("root", "0")
_ARCHIVE = re.compile(r"\.(?:tar|t[gbx]z|tbz2|tzst|tar\.\w+|gz|bz2|xz|zst)$", re.IGNORECASE)
_INSTALL = re.compile(r"\bapt(?:-get)?\s+(?:-\S+\s+)*install\b(?P<packages>[^;&|\n]*)")
_UPDATE = re.compile(r"\bapt(?:-get)?\s+(?:-\S+\s+)*update\b")
_CLEAN = re.compile(r"/var/lib/apt/lists|\bapt(?:-get)?\s+(?:-\S+\s+)*dist-?clean\b")
_ONLY_CD = re.compile(r"\s*cd\s+[^;&|\n]+$")
_LISTS: Final = "/var/lib/apt"
_MOST_NAMES: Final = 3


class Named(Protocol):
    """A file that is copied."""

    @property
    def path(self) -> str: ...


class Listed(Protocol):
    @property
    def entries(self) -> Sequence[Named]: ...


class Listing(Protocol):
    """A build context, as far as names are concerned."""

    def select(
        self, sources: Sequence[str], exclude: Sequence[str] = (), parents: bool = False
    ) -> Listed: ...


@dataclass(frozen=True, slots=True)
class Subject:
    dockerfile: Dockerfile
    graph: Graph
    plan: Plan
    definition: Definition | None
    files: Listing | None
    locked: Collection[str]
    read: Callable[[str], bytes] | None

    def instructions(self, *keywords: str) -> Iterator[tuple[GraphStage, Instruction]]:
        for stage in self.graph.stages:
            for instruction in stage.body:
                if instruction.keyword in keywords:
                    yield stage, instruction

    def lineage(self) -> Iterator[GraphStage]:
        """The last stage, and those that it is built on."""
        stage = self.graph.stages[-1]
        yield stage
        while stage.base.kind == "stage":
            stage = self.graph.stages[int(stage.base.name)]
            yield stage


@dataclass(frozen=True, slots=True)
class Advice:
    file: str
    place: Place
    message: str
    hint: str


Rule = Callable[[Subject], Iterator[Advice]]


# What the template is like


def _root_user(subject: Subject) -> Iterator[Advice]:
    """Only where it is asked for: without any USER, sandboxes run commands as the account `user`."""
    if subject.plan.settings.user.partition(":")[0] not in _ROOT:
        return
    last = subject.graph.stages[-1]
    users = [instruction for instruction in last.body if instruction.keyword == "USER"]
    place = users[-1] if users else last.origin
    hint = "leave USER root out, or end with USER and an account without rights, such as user"
    yield Advice(last.file, place, "commands in the sandbox run as root", hint)


def _no_health_check(subject: Subject) -> Iterator[Advice]:
    stated = any(each.keyword == "HEALTHCHECK" for stage in subject.lineage() for each in stage.body)
    given = subject.definition and (subject.definition.health or subject.definition.ready_cmd)
    if stated or given or subject.plan.settings.health or subject.plan.settings.ready_cmd:
        return
    yield Advice(
        subject.graph.stages[-1].file,
        subject.graph.stages[-1].origin,
        "there is no health check, so a build that does not work can be tagged",
        "add HEALTHCHECK, or ready_cmd to e2b.toml",
    )


# Base images


def _unpinned(subject: Subject) -> Iterator[Advice]:
    for stage, place, reference in _references(subject):
        if "@" not in reference and reference not in subject.locked:
            hint = "write its digest after '@', or keep it in e2b.lock (--update-lock)"
            yield Advice(stage.file, place, f"what {reference} means can change between builds", hint)


def _latest(subject: Subject) -> Iterator[Advice]:
    for stage, place, reference in _references(subject):
        tag = reference.rpartition("/")[2].partition(":")[2]
        if "@" not in reference and tag in ("", "latest") and reference not in subject.locked:
            what = f"{reference} has no tag, which means latest" if not tag else f"{reference} moves"
            yield Advice(stage.file, place, what, "choose the tag of a version")


def _references(subject: Subject) -> Iterator[tuple[GraphStage, Place, str]]:
    """Images from elsewhere, each where it is first used."""
    seen: set[str] = set()
    for stage in subject.graph.stages:
        for place, base in _bases(stage):
            if base.kind == "image" and base.name not in seen and not is_own(base.name):
                seen.add(base.name)
                yield stage, place, base.name


def _bases(stage: GraphStage) -> Iterator[tuple[Place, Base]]:
    yield stage.origin, stage.base
    for text, base in stage.sources.items():
        users = (each for each in stage.body if text in froms(each))
        yield next(users, stage.origin), base


# Secrets


def _secret_pairs(subject: Subject) -> Iterator[Advice]:
    before = takewhile(lambda each: each.keyword != "FROM", subject.dockerfile.instructions)
    inside = ((stage.file, each) for stage, each in subject.instructions("ENV", "ARG", "LABEL"))
    for file, instruction in chain(((subject.dockerfile.file, each) for each in before), inside):
        for name, value in instruction.pairs:
            if _is_exposed(instruction.keyword, name, value):
                yield Advice(
                    file,
                    instruction,
                    f"{instruction.keyword} {name} looks like a secret, and the template is no place for one",
                    f"use RUN --mount=type=secret,id={name}, or give it to the sandbox when it is created",
                )


def _is_exposed(keyword: str, name: str, value: str | None) -> bool:
    """An argument needs no value in the file: it will be given one."""
    if value is None or (keyword == "ARG" and not value.strip("\"'")):
        return suspects.is_secret_name(name)
    return suspects.is_secret(name, value)


def _secret_texts(subject: Subject) -> Iterator[Advice]:
    for stage, instruction in subject.instructions("RUN", "COPY", "ADD", "CMD", "ENTRYPOINT"):
        documents = (document.content for document in instruction.heredocs)
        if any(suspects.TOKEN.search(text) for text in (instruction.original, *documents)):
            message = f"{instruction.keyword} has what looks like a token or a private key"
            yield Advice(stage.file, instruction, message, "use RUN --mount=type=secret")


def _secret_files(subject: Subject) -> Iterator[Advice]:
    for stage, built in zip(subject.graph.stages, subject.plan.stages, strict=True):
        for line, action in _uploads(built):
            names = [name for name in _copied(subject, action) if _is_suspicious(subject, name)]
            if names:
                more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
                listed = ", ".join(map(shown, names[:_MOST_NAMES])) + more
                place = next((each for each in stage.body if each.line == line), stage.origin)
                message = f"{listed}, which looks like a secret, becomes part of the template"
                yield Advice(stage.file, place, message, "name it in .dockerignore")


def _uploads(stage: Stage) -> Iterator[tuple[int, Copy]]:
    for step in stage.steps:
        if isinstance(step.action, Copy) and step.action.files_hash:
            yield step.line, step.action


def _copied(subject: Subject, action: Copy) -> Iterable[str]:
    if subject.files is None:
        return action.sources
    selected = subject.files.select(action.sources, action.exclude, action.parents)
    return [entry.path for entry in selected.entries]


def _is_suspicious(subject: Subject, path: str) -> bool:
    if posixpath.basename(path) == ".npmrc":
        return subject.read is not None and suspects.has_npm_token(subject.read(path))
    return suspects.is_secret_file(path)


# ADD


def _add_url(subject: Subject) -> Iterator[Advice]:
    for stage, instruction in subject.instructions("ADD"):
        pinned = any(name == "checksum" for name, _ in instruction.flags)
        if not pinned and any(map(is_url, instruction.words[:-1])):
            message = "what ADD fetches can change between builds"
            yield Advice(stage.file, instruction, message, "pin it with --checksum=sha256:...")


def _add_file(subject: Subject) -> Iterator[Advice]:
    for stage, instruction in subject.instructions("ADD"):
        sources = instruction.words[:-1]
        special = instruction.heredocs or any(is_url(text) or _may_be_archive(text) for text in sources)
        if not special and not any(name == "unpack" for name, _ in instruction.flags):
            hint = "ADD unpacks archives, whatever they are called, and fetches URLs"
            yield Advice(stage.file, instruction, "COPY is enough here, and does no more", hint)


def _may_be_archive(source: str) -> bool:
    return bool(_ARCHIVE.search(source)) or "$" in source or "*" in source


# RUN


def _apt_update(subject: Subject) -> Iterator[Advice]:
    for stage, instruction in subject.instructions("RUN"):
        text = _script(instruction)
        found = _INSTALL.search(text)
        if found and not _UPDATE.search(text) and not _only_files(found["packages"]):
            message = "apt-get install without an update in the same RUN takes old lists, or has none"
            yield Advice(stage.file, instruction, message, "RUN apt-get update && apt-get install ...")


def _apt_clean(subject: Subject) -> Iterator[Advice]:
    """Only where it becomes a part of the template."""
    lineage = list(subject.lineage())
    for stage, instruction in subject.instructions("RUN"):
        text = _script(instruction)
        mounted = any(name == "mount" and _LISTS in value for name, value in instruction.flags)
        if stage in lineage and _UPDATE.search(text) and not mounted and not _CLEAN.search(text):
            message = "the package lists of apt stay in the template"
            hint = "end the same RUN with: rm -rf /var/lib/apt/lists/*"
            yield Advice(stage.file, instruction, message, hint)


def _only_files(packages: str) -> bool:
    names = [word for word in packages.split() if not word.startswith("-")]
    return bool(names) and all(name.startswith(("./", "/")) for name in names)


def _cd(subject: Subject) -> Iterator[Advice]:
    for stage, instruction in subject.instructions("RUN"):
        if instruction.exec_form is None and not instruction.heredocs and _ONLY_CD.match(instruction.text):
            message = "RUN cd has no effect on what follows"
            yield Advice(stage.file, instruction, message, "use WORKDIR, or cd in the command that needs it")


def _script(instruction: Instruction) -> str:
    """What a RUN does, as text."""
    words = instruction.exec_form
    text = " ".join(words) if words is not None else instruction.text
    return "\n".join((text, *(document.content for document in instruction.heredocs)))


def _maintainer(subject: Subject) -> Iterator[Advice]:
    for stage, instruction in subject.instructions("MAINTAINER"):
        message = "MAINTAINER is out of use, it becomes a label"
        yield Advice(stage.file, instruction, message, f"write LABEL maintainer={shown(instruction.text)}")


RULES: Final[Mapping[str, Rule]] = {
    "RootUser": _root_user,
    "NoHealthCheck": _no_health_check,
    "UnpinnedBase": _unpinned,
    "LatestTag": _latest,
    "SecretsUsedInArgOrEnv": _secret_pairs,
    "SecretInInstruction": _secret_texts,
    "SecretFileCopied": _secret_files,
    "AddUrl": _add_url,
    "AddInsteadOfCopy": _add_file,
    "AptUpdate": _apt_update,
    "AptCleanup": _apt_clean,
    "CdWithoutEffect": _cd,
    "MaintainerDeprecated": _maintainer,
}
"""By the names that `# check=skip=` takes; those that BuildKit has too are called as there."""
