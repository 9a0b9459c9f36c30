"""Whole directory trees: walked, moved and removed, letting other requests in between."""

import asyncio
import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from os.path import isdir, islink, join, lexists

_BATCH = 256


def walk(directory: str, depth: int) -> Iterator[str]:
    """Paths below: sorted by name, each directory just before what it holds. Raises OSError."""
    levels = [iter(_children(directory))]
    while levels:
        path, is_directory = next(levels[-1], ("", False))
        if not path:
            levels.pop()
            continue
        yield path
        if is_directory and len(levels) < depth:
            with suppress(FileNotFoundError, NotADirectoryError):  # gone since it was listed
                levels.append(iter(_children(path)))


def _children(directory: str) -> list[tuple[str, bool]]:
    with os.scandir(directory) as entries:
        return sorted((join(directory, entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries)


async def remove(path: str) -> None:
    """Remove a file, a link or a tree; what is missing is removed. Raises OSError."""
    if islink(path) or not isdir(path):
        with suppress(FileNotFoundError):
            os.unlink(path)
        return
    # By descriptors, so that a link put in place of a directory meanwhile leads nowhere.
    for _, directories, files, fd in os.fwalk(path, topdown=False):
        for count, name in enumerate(files + directories):
            _remove_entry(name, fd)
            if count % _BATCH == 0:
                await asyncio.sleep(0)
    os.rmdir(path)


def _remove_entry(name: str, directory: int) -> None:
    with suppress(FileNotFoundError):
        try:
            os.unlink(name, dir_fd=directory)
        except IsADirectoryError:
            os.rmdir(name, dir_fd=directory)


async def move(source: str, destination: str) -> None:
    """Rename, or copy and remove where the two are on different filesystems. Raises OSError."""
    try:
        os.rename(source, destination)
    except OSError as error:
        # An overlay answers so for a directory of a lower layer, too.
        if error.errno != errno.EXDEV or lexists(destination):
            raise
        _copy(source, destination)
        await remove(source)


def _copy(source: str, destination: str) -> None:
    if islink(source) or not isdir(source):
        shutil.copy2(source, destination, follow_symlinks=False)
    else:
        shutil.copytree(source, destination, symlinks=True)
        for path in walk(source, os.pathconf("/", "PC_PATH_MAX")):
            _copy_owner(path, destination + path.removeprefix(source))
    _copy_owner(source, destination)


def _copy_owner(source: str, destination: str) -> None:
    status = os.lstat(source)
    os.lchown(destination, status.st_uid, status.st_gid)
