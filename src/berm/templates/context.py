"""A build context: the files that COPY, ADD and bind mounts may take, and their digest."""

import bisect
import hashlib
import os
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from berm.errors import BermError, Code
from berm.templates import entries, globs, ignore
from berm.templates.entries import COPIED, Entry, to_bytes
from berm.templates.findings import shown
from berm.templates.problems import Problem

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

    def select(self, sources: Sequence[str]) -> Selection:
        """What sources of COPY stand for: names, or globs without `**`, relative to the context's root.

        A directory stands for all that is in it. A source that is, or leads through, a link inside the
        context stands for what is there, under its own name; other links stay links.
        """
        found: dict[str, Entry] = {}
        missing: list[str] = []
        errors: list[BermError] = []
        for source in sources:
            try:
                matched = self._match(_cleaned(source))
            except BermError as error:
                errors.append(error)
            else:
                found |= matched
                missing += [] if matched or _cleaned(source) == "" else [source]
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

    def _match(self, source: str) -> dict[str, Entry]:
        if not globs.is_glob(source) or source.startswith("../"):
            return self._below(source, self._resolved(source))
        matches = globs.compiled(source, deep=False).match
        found: dict[str, Entry] = {}
        for path in self._paths:
            if path not in found and matches(path):
                found |= self._below(path, path)
        return found

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
