"""What the sources of a COPY are, in the tree that is copied from; it is hostile, and so may be the plan."""

import itertools
import posixpath
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from berm.errors import BermError, Code
from berm.images.draft import nothing
from berm.images.lookup import Entry
from berm.images.merged import View, join
from berm.images.threads import Check
from berm.templates import globs
from berm.templates.plan import Copy
from berm.templates.sources import kept_from, left_out, path_of


@dataclass(frozen=True, slots=True)
class Source:
    """A file, or a directory whose content is copied."""

    name: str
    """The last name of it, which a file keeps in a directory. Empty if only what is below it is kept."""
    view: View
    entry: Entry
    above: tuple[tuple[str, Entry], ...] = ()
    """The directories that it keeps, outermost first, and what they are called."""
    left_out: Callable[[str], bool] = nothing
    """Asked of each path below the directory."""
    unpacked: bool = False
    """Whether it is what was in an archive; then its owners are kept."""


def look_up(view: View, action: Copy, check: Check) -> list[Source]:
    """All that an action copies. Raises BermError NOT_FOUND, INVALID_ARGUMENT."""
    return _Search(view, action, check).run()


class _Search:
    def __init__(self, view: View, action: Copy, check: Check) -> None:
        self._view = view
        self._action = action
        self._check = check
        self._is_out = left_out(action.exclude)

    def run(self) -> list[Source]:
        names = tuple(file.name for file in self._action.inline) or self._action.sources
        found = [source for name in names for source in self._sources(name)]
        if not found and not self._action.exclude:
            raise BermError(Code.NOT_FOUND, f"no file matches {' '.join(names)}")
        return found

    def _sources(self, name: str) -> Iterator[Source]:
        self._check()
        path = posixpath.normpath("/" + path_of(name)).strip("/")
        globbed = globs.is_glob(path)
        for at in self._matches(path) if globbed else self._named(path, name):
            source = self._kept(at, kept_from(name)) if self._action.parents else self._plain(at, globbed)
            if source:
                yield source

    def _named(self, path: str, name: str) -> list[str]:
        if not self._view.locate(path).missing:
            return [path]
        # What is left out was not sent.
        if self._action.files_hash and self._action.exclude:
            return []
        raise BermError(
            Code.NOT_FOUND, f"{name} is not in what is copied from", "check its name and .dockerignore"
        )

    def _plain(self, path: str, globbed: bool) -> Source | None:
        """What is at a path; None if it is left out."""
        entry, own = self._view.find(path), posixpath.basename(path)
        if (globbed or not entry.is_directory) and self._is_out(own):
            return None
        return Source(own, self._view, entry, left_out=self._is_out)

    def _kept(self, path: str, first: int) -> Source | None:
        """The same with its path, but for the first names."""
        names = path.split("/") if path else []
        kept = join(*names[first:])
        if self._is_out(kept):
            return None
        above = tuple(
            (names[depth - 1], self._view.find(join(*names[:depth])))
            for depth in range(first + 1, len(names))
        )
        name = posixpath.basename(kept)
        return Source(
            name, self._view, self._view.find(path), above, lambda below: self._is_out(join(kept, below))
        )

    def _matches(self, pattern: str) -> Iterator[str]:
        names = pattern.split("/")
        fixed = list(itertools.takewhile(lambda name: not globs.is_glob(name), names))
        start = self._view.locate(join(*fixed)).entry
        if start is None:
            return iter(())
        if self._action.parents:
            return self._below(start, join(*fixed), globs.compiled(pattern).match)
        return self._named_below(start, names[len(fixed) :])

    def _named_below(self, start: Entry, patterns: Sequence[str]) -> Iterator[str]:
        found = [start]
        for pattern in patterns:
            matches = globs.compiled(pattern, deep=False).match
            inside = (
                entry for parent in found if parent.is_directory for entry in self._view.children(parent)
            )
            found = [entry for entry in inside if matches(entry.name)]
        return (entry.path for entry in found)

    def _below(self, start: Entry, place: str, matches: Callable[[str], object]) -> Iterator[str]:
        """With `**`; nothing is looked for in a directory that matches, as all of it is copied."""
        waiting = [(start, place)] if start.is_directory else []
        while waiting:
            directory, above = waiting.pop()
            self._check()
            for child in self._view.children(directory):
                path = join(above, child.name)
                if matches(path):
                    yield path
                elif child.is_directory:
                    waiting.append((child, path))
