"""COPY and ADD."""

import posixpath
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Final
from urllib.parse import unquote, urlsplit

from berm.errors import BermError
from berm.templates import modes
from berm.templates.dockerfile import Heredoc, Instruction
from berm.templates.findings import InstructionError, shown
from berm.templates.inputs import Download, Inputs
from berm.templates.operands import flag, is_set, mode, owner, refuse
from berm.templates.paths import literal, relative
from berm.templates.plan import Copy, Inline
from berm.templates.sources import exclusion, pivoted
from berm.templates.state import State

_REFUSED: Final = {"keep-git-dir": "clone the repository in a RUN instead"}
_FILES_ONLY: Final = ("exclude", "parents")
"""Flags that mean nothing for a URL or a heredoc."""
_URL = re.compile(r"https?://", re.IGNORECASE)
_GIT = re.compile(
    r"(?:git|ssh)://|[\w.-]+@[\w.-]+:|https?://[^?#]*\.git(?:[#?].*)?$", re.IGNORECASE
)  # fmt: skip
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}")
_CHMOD_HINT: Final = "an octal number such as 0755, or changes such as u=rwX,go=rX"
_URL_MODE: Final = 0o600
"""What Docker gives to a file from the network."""

_Source = str | Heredoc


def copies(state: State, instruction: Instruction, inputs: Inputs) -> tuple[Copy, ...]:
    """What COPY or ADD does; several actions if it mixes files, URLs and heredocs."""
    refuse(instruction, _REFUSED)
    if is_set(instruction, "link"):
        inputs.note(f"{instruction.keyword} --link has no effect here", "each layer is kept by itself anyway")
    sources, target = _operands(state, instruction)
    _check_flags(instruction, sources)
    chown = flag(instruction, "chown")
    user = owner(f"{instruction.keyword} --chown", state.expand(chown)) if chown is not None else ""
    request = _Request(state, instruction, inputs, target, user, *_permissions(state, instruction))
    found: list[Copy] = []
    for kind, group in groupby(sources, _kind):
        found += _KINDS[kind](request, list(group))
    return tuple(found)


def _permissions(state: State, instruction: Instruction) -> tuple[int | None, str]:
    """What `--chmod` says, as a number or in symbols."""
    text = flag(instruction, "chmod")
    if text is None:
        return None, ""
    expanded = state.expand(text)
    if modes.is_symbolic(expanded):
        return None, expanded
    return mode(f"{instruction.keyword} --chmod", expanded, _CHMOD_HINT), ""


@dataclass(frozen=True, slots=True)
class _Request:
    """One instruction, with what all its sources share."""

    state: State
    instruction: Instruction
    inputs: Inputs
    target: str
    user: str
    bits: int | None
    changes: str
    """Of permissions, in symbols."""

    @property
    def is_add(self) -> bool:
        return self.instruction.keyword == "ADD"


def _operands(state: State, instruction: Instruction) -> tuple[list[_Source], str]:
    if len(instruction.words) < 2:
        raise InstructionError(
            f"{instruction.keyword} takes sources and a target", f"{instruction.keyword} source target"
        )
    *words, last = instruction.words
    sources = list(_sources(state, instruction, words))
    target = state.path(last)
    if len(sources) > 1 and not target.endswith("/"):
        raise InstructionError(
            f"{instruction.keyword} has {len(sources)} sources, and a target that is no directory",
            f"end it with '/': {target}/",
        )
    return sources, target


def _sources(state: State, instruction: Instruction, words: Iterable[str]) -> Iterator[_Source]:
    """Heredocs stand in the order of their markers, which may be equal."""
    left = deque(instruction.heredocs)
    for word in words:
        if left and word == left[0].word:
            yield left.popleft()
        else:
            yield _source(state, instruction, word)


def _source(state: State, instruction: Instruction, word: str) -> str:
    source = state.expand(word)
    if not source:
        raise InstructionError(
            f"{instruction.keyword} has an empty source: {word}", "check the variables in it, or write '.'"
        )
    return source


def _kind(source: _Source) -> str:
    if isinstance(source, Heredoc):
        return "inline"
    if _GIT.match(source):
        return "git"
    return "url" if is_url(source) else "file"


def is_url(source: str) -> bool:
    """Whether ADD fetches this source from the network."""
    return _URL.match(source) is not None


def _from_files(request: _Request, sources: Sequence[_Source]) -> Iterator[Copy]:
    parents = is_set(request.instruction, "parents")
    names = tuple(_name_of(str(source), parents) for source in sources)
    exclude = tuple(_exclusions(request))
    origin = flag(request.instruction, "from")
    base = request.inputs.origin(origin) if origin is not None else None
    yield Copy(
        names,
        request.target,
        files_hash=request.inputs.upload(names, exclude, parents) if base is None else "",
        base=base,
        owner=request.user,
        mode=request.bits,
        chmod=request.changes,
        exclude=exclude,
        parents=parents,
        unpack=is_set(request.instruction, "unpack", default=request.is_add),
    )


def _name_of(source: str, parents: bool) -> str:
    with _told():
        return pivoted(source) if parents else relative(source)


def _exclusions(request: _Request) -> Iterator[str]:
    for name, value in request.instruction.flags:
        if name == "exclude":
            with _told():
                yield exclusion(request.state.expand(value))


@contextmanager
def _told() -> Iterator[None]:
    """What is wrong with a pattern is wrong with its instruction."""
    try:
        yield
    except BermError as error:
        raise InstructionError(error.message, error.hint) from error


def _inline(request: _Request, sources: Sequence[_Source]) -> Iterator[Copy]:
    files = tuple(_file(request.state, source) for source in sources if isinstance(source, Heredoc))
    yield Copy((), request.target, inline=files, owner=request.user, mode=request.bits, chmod=request.changes)


def _file(state: State, document: Heredoc) -> Inline:
    if document.name in (".", "..") or "/" in document.name:
        raise InstructionError(
            f"{shown(document.name)} cannot be the name of a file", "<<name and a line with the name"
        )
    content = state.expand(document.content, quotes=False) if document.expand else document.content
    return Inline(document.name, content)


def _from_network(request: _Request, sources: Sequence[_Source]) -> Iterator[Copy]:
    if not request.is_add:
        raise InstructionError(f"COPY cannot fetch {shown(_bare(str(sources[0])))}", "use ADD for a URL")
    for source in sources:
        download = Download(str(source), _name(str(source), request.target), _checksum(request))
        yield Copy(
            (literal(download.name),),
            request.target,
            files_hash=request.inputs.fetched(download),
            owner=request.user,
            mode=_URL_MODE if request.bits is None else request.bits,
            chmod=request.changes,
            unpack=is_set(request.instruction, "unpack"),
        )


def _checksum(request: _Request) -> str:
    text = flag(request.instruction, "checksum")
    checksum = request.state.expand(text).lower() if text is not None else ""
    if text is not None and not _CHECKSUM.fullmatch(checksum):
        raise InstructionError(f"ADD --checksum has {shown(checksum)}", "sha256: and 64 hex digits")
    return checksum


def _check_flags(instruction: Instruction, sources: Sequence[_Source]) -> None:
    kinds = [_kind(source) for source in sources]
    if flag(instruction, "checksum") is not None and kinds != ["url"]:
        raise InstructionError(
            "ADD --checksum needs one URL as its source", "use an ADD of its own for each URL"
        )
    for name, _ in instruction.flags:
        if name in _FILES_ONLY and set(kinds) != {"file"}:
            raise InstructionError(
                f"{instruction.keyword} --{name} is for files and directories only",
                f"use an {instruction.keyword} of its own for what is none",
            )


def _name(url: str, target: str) -> str:
    """What the file is called below a directory. The target gives the name if it is none."""
    name = posixpath.basename(unquote(urlsplit(url).path))
    if name in ("", ".", "..") or not name.isprintable():
        if target.endswith("/"):
            raise InstructionError(
                f"{shown(_bare(url))} has no file name", "give the target a name, without '/' at its end"
            )
        return "download"
    return name


def _bare(url: str) -> str:
    """Without a password."""
    return re.sub(r"//[^/@]*@", "//", url)


def _git(request: _Request, sources: Sequence[_Source]) -> Iterator[Copy]:
    raise InstructionError(
        f"{request.instruction.keyword} of a git repository is not supported: {_bare(str(sources[0]))}",
        "clone it in a RUN, with the commit that you want",
    )


_KINDS: Final[dict[str, Callable[[_Request, Sequence[_Source]], Iterator[Copy]]]] = {
    "file": _from_files,
    "inline": _inline,
    "url": _from_network,
    "git": _git,
}
