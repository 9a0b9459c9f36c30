"""What differs between two chains of layers. It costs what differs: what both begin with is skipped."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, Final

from berm.images import packages
from berm.images.lookup import Entry
from berm.images.merged import View
from berm.images.packages import Package
from berm.images.threads import Check, in_thread

LISTED: Final = 1000
"""Paths that are listed of each kind of difference; the totals count all."""

_CHUNK: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class PackageChange:
    kind: str
    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class PackageChanges:
    added: tuple[Package, ...]
    removed: tuple[Package, ...]
    changed: tuple[PackageChange, ...]


@dataclass(frozen=True, slots=True)
class FileChanges:
    """Absolute paths, at most LISTED of each; of an added or removed directory all that is in it, too."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    total_added: int
    total_removed: int
    total_changed: int


@dataclass(frozen=True, slots=True)
class SettingChange:
    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Difference:
    packages: PackageChanges
    files: FileChanges


async def compare(before: Sequence[Path], after: Sequence[Path]) -> Difference:
    """Compare two chains, bottom first. Raises BermError for what cannot be read."""
    return await in_thread(partial(_compared, before, after))


def _compared(before: Sequence[Path], after: Sequence[Path], check: Check) -> Difference:
    with View(before) as old, View(after) as new:
        found = PackageChanges((), (), ()) if before == after else _packages(old, new)
        return Difference(found, _Files(old, new, common(before, after), check).compare())


def common(before: Sequence[Path], after: Sequence[Path]) -> int:
    """How many layers both chains begin with."""
    pairs = zip(before, after, strict=False)
    return next((n for n, (old, new) in enumerate(pairs) if old != new), min(len(before), len(after)))


def settings(before: Any, after: Any) -> tuple[SettingChange, ...]:
    """The fields in which two values of one dataclass differ; a mapping counts key by key."""
    found = []
    for field in fields(before):
        found += _values(field.name, getattr(before, field.name), getattr(after, field.name))
    return tuple(found)


def _values(name: str, before: Any, after: Any) -> list[SettingChange]:
    if before == after:
        return []
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        keys = sorted(before.keys() | after.keys())
        changes = [_values(f"{name}.{key}", before.get(key), after.get(key)) for key in keys]
        return [change for several in changes for change in several]
    return [SettingChange(name, before, after)]


def _packages(old: View, new: View) -> PackageChanges:
    before, after = _versions(packages.installed(old)), _versions(packages.installed(new))
    return PackageChanges(
        added=_listed(after, after.keys() - before.keys()),
        removed=_listed(before, before.keys() - after.keys()),
        changed=tuple(
            PackageChange(*key, before[key], after[key])
            for key in sorted(before.keys() & after.keys())
            if before[key] != after[key]
        ),
    )


def _versions(found: Iterable[Package]) -> dict[tuple[str, str], str]:
    """One version of each package, or several with commas where there are several architectures."""
    versions: dict[tuple[str, str], str] = {}
    for package in found:
        key = (package.kind, package.name)
        versions[key] = f"{versions[key]}, {package.version}" if key in versions else package.version
    return versions


def _listed(versions: Mapping[tuple[str, str], str], keys: Iterable[tuple[str, str]]) -> tuple[Package, ...]:
    return tuple(Package(*key, versions[key]) for key in sorted(keys))


class _Paths:
    """Counts all, keeps some."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.total = 0

    def add(self, path: str) -> None:
        self.total += 1
        if len(self.kept) < LISTED:
            self.kept.append(f"/{os.fsencode(path).decode('utf-8', 'replace')}")


class _Files:
    def __init__(self, old: View, new: View, shared: int, check: Check) -> None:
        self._old = old
        self._new = new
        self._shared = shared
        """Layers below this position are the same."""
        self._check = check
        self._added, self._removed, self._changed = _Paths(), _Paths(), _Paths()

    def compare(self) -> FileChanges:
        waiting = [(self._old.root(), self._new.root())]
        while waiting:
            self._check()
            before, after = waiting.pop()
            for path in self._names(before, after):
                old, new = self._old.child(before, path), self._new.child(after, path)
                if old and new and old.is_directory and new.is_directory:
                    waiting.append((old, new))
                self._entries(old, new)
        return FileChanges(
            added=tuple(sorted(self._added.kept)),
            removed=tuple(sorted(self._removed.kept)),
            changed=tuple(sorted(self._changed.kept)),
            total_added=self._added.total,
            total_removed=self._removed.total,
            total_changed=self._changed.total,
        )

    def _names(self, before: Entry, after: Entry) -> list[str]:
        """What can differ in a directory: only what a layer that is not shared says, if both see the same
        of those that are."""
        same = self._seen_below(before) == self._seen_below(after)
        above = self._shared if same else 0
        return sorted(self._old.own_names(before, above) | self._new.own_names(after, above))

    def _seen_below(self, entry: Entry) -> list[int]:
        return [layer for layer in entry.layers if layer < self._shared]

    def _entries(self, old: Entry | None, new: Entry | None) -> None:
        if old and new:
            if not self._is_same(old, new):
                self._changed.add(new.path)
            if old.is_directory != new.is_directory:
                self._inside(self._old, old, self._removed)
                self._inside(self._new, new, self._added)
        elif old:
            self._all(self._old, old, self._removed)
        elif new:
            self._all(self._new, new, self._added)

    def _all(self, view: View, entry: Entry, paths: _Paths) -> None:
        paths.add(entry.path)
        self._inside(view, entry, paths)

    def _inside(self, view: View, entry: Entry, paths: _Paths) -> None:
        for below in view.walk(entry) if entry.is_directory else ():
            self._check()
            paths.add(below.path)

    def _is_same(self, old: Entry, new: Entry) -> bool:
        before, after = old.status, new.status
        if (before.st_dev, before.st_ino) == (after.st_dev, after.st_ino):
            return True
        if (before.st_mode, before.st_uid, before.st_gid) != (after.st_mode, after.st_uid, after.st_gid):
            return False
        if old.is_link:
            return self._old.readlink(old) == self._new.readlink(new)
        return not old.is_file or self._is_same_content(old, new)

    def _is_same_content(self, old: Entry, new: Entry) -> bool:
        if old.status.st_size != new.status.st_size:
            return False
        with open(self._old.open(old), "rb") as before, open(self._new.open(new), "rb") as after:
            while piece := before.read(_CHUNK):
                self._check()
                if after.read(_CHUNK) != piece:
                    return False
        return True
