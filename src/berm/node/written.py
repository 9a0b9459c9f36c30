"""What a sandbox wrote, by its overlay's upper directory: whether it did, less what berm made itself.

Nothing of the sandbox runs while this looks at a tree that it had in its hands.
"""

import os
import stat
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_MOST = 1000
"""Entries that berm itself may make before it counts as the sandbox's."""

Marks = Mapping[str, tuple[int, int]]
"""For each path in a tree what changes with anything about it: inode number and time of change."""


def marks(upper: Path) -> Marks | None:
    """The marks of a small tree, None of one with many entries."""
    found: dict[str, tuple[int, int]] = {}
    waiting = [upper]
    while waiting:
        directory = waiting.pop()
        with os.scandir(directory) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                found[os.path.relpath(entry.path, upper)] = (status.st_ino, status.st_ctime_ns)
                if len(found) > _MOST:
                    return None
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
    return found


def remove_stubs(upper: Path, before: Marks, targets: Collection[str], lower: Sequence[Path]) -> None:
    """Remove the empty files and directories that were made for mounts and that nobody has used since.

    `before` are the marks of `upper` when they had been made; `lower` are the trees under it.
    """
    for target in targets:
        path = target.strip("/")
        if path in before and _is_unused(upper / path, before[path]):
            _remove(upper / path)
            _remove_parents(upper, path, before, lower)


def _is_unused(path: Path, mark: tuple[int, int]) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return (status.st_ino, status.st_ctime_ns) == mark


def _remove_parents(upper: Path, path: str, before: Marks, lower: Sequence[Path]) -> None:
    for parent in Path(path).parents:
        if str(parent) not in before or any(os.path.lexists(tree / parent) for tree in lower):
            return
        _remove(upper / parent)


def _remove(path: Path) -> None:
    with suppress(OSError):  # it is not empty, so it is the sandbox's
        if stat.S_ISDIR(path.lstat().st_mode):
            path.rmdir()
        elif not path.lstat().st_size:
            path.unlink()
