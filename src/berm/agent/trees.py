"""Whole directory trees: walked, moved and removed, letting other requests in between."""

import asyncio
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from os.path import dirname, isdir, islink, join

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
        if error.errno != errno.EXDEV:
            raise
        await _replace(source, destination)
        await remove(source)


async def _replace(source: str, destination: str) -> None:
    """Put a copy where `destination` is, all at once."""
    if isdir(destination) and not islink(destination) and os.listdir(destination):
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), destination)
    partial = join(dirname(destination), f".moving-{secrets.token_hex(8)}")
    try:
        await _copy(source, partial)
        os.rename(partial, destination)
    except OSError as error:
        with suppress(OSError):
            await remove(partial)
        raise OSError(error.errno, error.strerror, destination) from error


async def _copy(source: str, destination: str) -> None:
    """Copy a file, a link or a tree, with owners, modes, times and attributes. Raises OSError."""
    is_tree = isdir(source) and not islink(source)
    below = walk(source, os.pathconf("/", "PC_PATH_MAX")) if is_tree else iter(())
    directories: list[tuple[str, str]] = []
    for count, path in enumerate(chain((source,), below)):
        copy = destination + path.removeprefix(source)
        if islink(path) or not isdir(path):
            shutil.copyfile(path, copy, follow_symlinks=False)
            _copy_status(path, copy)
        else:
            os.mkdir(copy, 0o700)
            directories.append((path, copy))
        if count % _BATCH == 0:
            await asyncio.sleep(0)
    for path, copy in reversed(directories):  # what is put into one changes its time
        _copy_status(path, copy)


def _copy_status(source: str, copy: str) -> None:
    status = os.lstat(source)
    os.lchown(copy, status.st_uid, status.st_gid)  # which takes set-user-id away: chown(2)
    shutil.copystat(source, copy, follow_symlinks=False)
