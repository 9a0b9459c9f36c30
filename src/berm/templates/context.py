"""A build context: the files that COPY, ADD and bind mounts may take, and their digest."""

import bisect
import hashlib
import os
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from berm.errors import BermError, Code
from berm.templates import entries, globs, ignore
from berm.templates.entries import COPIED, Entry, to_bytes
from berm.templates.findings import shown
from berm.templates.problems import Problem
from berm.templates.sources import kept_from, left_out, path_of

FILE_LIMIT: Final = 4 << 30
TOTAL_LIMIT: Final = 10 << 30
"""Bytes that one file, and all files of a selection, may have."""

_MOST_ERRORS: Final = 20
_MOST_LINKS: Final = 40


@dataclass(frozen=True, slots=True)
class Selection:
    """What sources stand for. It can be used only if `errors` and `missing` are empty; else `digest` is too.

    The digest covers names, kinds, permissions, sizes, contents and what links say; not times and owners.
    """

    root: Path
    entries: tuple[Entry, ...]
    """In order of their paths, each directory before what is in it."""
    digest: str = ""
    """SHA-256 in hex."""
    missing: tuple[str, ...] = ()
    """Sources that stand for nothing."""
    ignored: tuple[str, ...] = ()
    """Those of `missing` that are there, but left out by .dockerignore."""
    errors: tuple[BermError, ...] = ()

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(entry.size for entry in self.entries)

    @property
    def count(self) -> int:
        """Of all entries."""
        return len(self.entries)


@dataclass(frozen=True, slots=True)
class _Match:
    """What one source, or one match of a glob, stands for: `place` and all that is below it."""

    place: str
    entries: Mapping[str, Entry]
    globbed: bool = False

    @property
    def own_name(self) -> str:
        """By which it may be left out; empty for a directory that is named, whose content is meant."""
        entry = self.entries.get(self.place)
        meant = self.globbed or (entry is not None and entry.kind != "directory")
        return posixpath.basename(self.place) if meant else ""

    def below(self, path: str) -> str:
        return path[len(self.place) :].lstrip("/")


class Context:
    """The files below a directory that .dockerignore does not leave out, as they are when it is made."""

    def __init__(
        self,
        root: Path,
        dockerfile: Path | None = None,
        file_limit: int = FILE_LIMIT,
        total_limit: int = TOTAL_LIMIT,
    ) -> None:
        """`dockerfile` is the one whose own ignore file counts. Limits are in bytes."""
        self.root = root
        self._limits = file_limit, total_limit
        self._ignore, self._problems = ignore.load(root, dockerfile)
        self._entries = entries.listed(os.fsencode(root), self._ignore)
        self._paths = sorted(self._entries)
        self._digests: dict[str, bytes] = {}

    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the ignore file and the directory itself."""
        if "" not in self._entries:
            return self._problems
        return (*self._problems, Problem(str(self.root), 1, 1, f"the context {self.root} cannot be read"))

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All that may be selected."""
        return tuple(self._entries[path] for path in self._paths)

    def select(self, sources: Sequence[str], exclude: Sequence[str] = (), parents: bool = False) -> Selection:
        """What sources of COPY stand for, as a plan has them; see Copy for all three.

        A directory stands for all that is in it. A source that is, or leads through, a link inside the
        context stands for what is there, under its own name; other links stay links.
        """
        is_out = left_out(exclude)
        found: dict[str, Entry] = {}
        missing: list[str] = []
        errors: list[BermError] = []
        for source in sources:
            path = _cleaned(path_of(source))
            try:
                matched = list(self._match(path, deep=parents))
                picked = [self._picked(match, source, is_out, parents) for match in matched]
                found |= {entry.path: entry for entries in picked for entry in entries}
            except BermError as error:
                errors.append(error)
            else:
                missing += [] if any(match.entries for match in matched) or path == "" else [source]
        return self._selection([found[path] for path in sorted(found)], missing, errors)

    def _selection(
        self, found: Sequence[Entry], missing: Sequence[str], errors: Sequence[BermError]
    ) -> Selection:
        ignored = tuple(source for source in missing if self._is_ignored(source))
        wrong = [*errors, *_refusals(found, *self._limits)]
        digest = "" if wrong or missing else self._digest(found, wrong)
        return Selection(
            self.root, tuple(found), digest, tuple(missing), ignored, tuple(wrong[:_MOST_ERRORS])
        )

    def _match(self, source: str, deep: bool) -> Iterator[_Match]:
        if not globs.is_glob(source) or source.startswith("../"):
            yield _Match(source, self._below(source, self._resolved(source)))
            return
        matches = globs.compiled(source, deep).match
        found: set[str] = set()
        for path in self._paths:
            if path not in found and matches(path):
                match = _Match(path, self._below(path, path), globbed=True)
                found.update(match.entries)
                yield match

    def _picked(
        self, match: _Match, source: str, is_out: Callable[[str], bool], parents: bool
    ) -> Iterator[Entry]:
        """What of a match is not left out, with the directories that it keeps."""
        if parents:
            yield from self._with_parents(match, kept_from(source), is_out)
        elif not is_out(match.own_name):
            yield from (entry for path, entry in match.entries.items() if not is_out(match.below(path)))

    def _with_parents(self, match: _Match, first: int, is_out: Callable[[str], bool]) -> Iterator[Entry]:
        kept = [entry for path, entry in match.entries.items() if not is_out(_from(path, first))]
        names = match.place.split("/")
        for depth in range(first + 1, len(names) if kept else 0):
            above = self._entries.get("/".join(names[:depth]))
            if above and above.kind == "directory":
                yield above
        yield from kept

    def _below(self, name: str, origin: str) -> dict[str, Entry]:
        """What is at `origin` and below, as if it were at `name`."""
        found = [self._entries[path] for path in self._at(origin)]
        if name != origin:
            found = [replace(entry, path=_moved(entry.path, origin, name)) for entry in found]
        return {entry.path: entry for entry in found}

    def _at(self, origin: str) -> Sequence[str]:
        if not origin:
            return self._paths
        first = bisect.bisect_left(self._paths, origin + "/")
        last = bisect.bisect_left(self._paths, origin + "0")  # the sign after "/"
        return ([origin] if origin in self._entries else []) + self._paths[first:last]

    def _resolved(self, source: str) -> str:
        """Where a name leads, through links in the context. Raises BermError if it leads out."""
        done: list[str] = []
        names = source.split("/")[::-1]
        links = 0
        while names:
            _enter(done, names.pop(), source)
            entry = self._entries.get("/".join(done))
            if entry and entry.kind == "link":
                links += 1
                if entry.link.startswith("/") or links > _MOST_LINKS:
                    raise _leads_out(source)
                done.pop()
                names += entry.link.split("/")[::-1]
        return "/".join(done)

    def _is_ignored(self, source: str) -> bool:
        path = _cleaned(source)
        there = os.path.lexists(entries.real(os.fsencode(self.root), path))
        return there and not globs.is_glob(path) and self._ignore.ignores(path)

    def _digest(self, found: Sequence[Entry], errors: list[BermError]) -> str:
        whole = hashlib.sha256()
        for entry in found:
            try:
                whole.update(self._described(entry))
            except BermError as error:
                errors.append(error)
        return "" if errors else whole.hexdigest()

    def _described(self, entry: Entry) -> bytes:
        """An entry in bytes that no other entry has."""
        head = to_bytes(f"{entry.kind}\0{entry.mode:o}\0{entry.size}\0{entry.path}\0")
        return head + (self._content(entry) if entry.kind == "file" else to_bytes(entry.link) + b"\0")

    def _content(self, entry: Entry) -> bytes:
        if entry.origin not in self._digests:
            self._digests[entry.origin] = entries.digest(os.fsencode(self.root), entry)
        return self._digests[entry.origin]


def _cleaned(source: str) -> str:
    """A source without `.`, `//` and a `/` at either end; the root is empty."""
    path = posixpath.normpath(source.lstrip("/") or ".")
    return "" if path == "." else path


def _enter(done: list[str], name: str, source: str) -> None:
    if name not in ("", ".", ".."):
        done.append(name)
    elif name == "..":
        if not done:
            raise _leads_out(source)
        done.pop()


def _from(path: str, first: int) -> str:
    """A path without its first names."""
    return "/".join(path.split("/")[first:])


def _moved(path: str, origin: str, name: str) -> str:
    below = path.removeprefix(origin).lstrip("/")
    return f"{name}/{below}" if below else name


def _refusals(found: Sequence[Entry], file_limit: int, total_limit: int) -> Iterator[BermError]:
    for entry in found:
        if entry.kind not in COPIED:
            hint = "delete it, or name it in .dockerignore"
            yield BermError(Code.INVALID_ARGUMENT, f"{shown(entry.path)} is a {entry.kind}", hint)
        elif entry.size > file_limit:
            yield _too_large(shown(entry.path), entry.size, file_limit)
    total = sum(entry.size for entry in found)
    if total > total_limit:
        yield _too_large("what is copied", total, total_limit)


def _too_large(what: str, size: int, limit: int) -> BermError:
    hint = f"at most {limit:,} bytes are; name what is not needed in .dockerignore"
    return BermError(Code.TOO_LARGE, f"{what} has {size:,} bytes", hint)


def _leads_out(source: str) -> BermError:
    hint = "copy from inside the context, or move the context up in e2b.toml"
    return BermError(Code.INVALID_ARGUMENT, f"{shown(source)} leads out of the build context", hint)
