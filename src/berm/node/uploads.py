"""Files sent for build steps: `files/NAME` of the pool is a tree, whole or not there at all."""

import os
import re
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from berm.errors import BermError, Code
from berm.images import archives, tree
from berm.images.archives import Limits
from berm.images.threads import in_thread
from berm.node import pieces

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}-[0-9a-f]{64}")


def directory(pool: Path) -> Path:
    """Where they are; also for temporary trees, which `sweep` removes."""
    return pool / "files"


def path(pool: Path, name: str) -> Path:
    """The tree of what was received as `name` (a team and a digest), whether it is there or not."""
    if not _NAME.fullmatch(name):
        raise BermError(Code.INVALID_ARGUMENT, f"{name!r} is no name of received files")
    return directory(pool) / name


async def receive(pool: Path, name: str, body: AsyncIterator[bytes], limits: Limits) -> None:
    """Keep the tar archive `body` unpacked; if `name` is there already, that is kept.

    Raises what `archives.unpack` raises, and TOO_LARGE for a body of more than `limits.size` bytes.
    """
    target = path(pool, name)
    async with tree.staged(target) as fresh:
        spool = fresh.with_name("spool")
        await _spool(body, spool, limits.size)
        fresh.mkdir(mode=0o755)
        await archives.unpack(spool, fresh, limits)
        # What is gone need not be written to the disk by the sync that follows.
        spool.unlink()
    use(pool, name)


async def _spool(body: AsyncIterator[bytes], spool: Path, limit: int) -> None:
    with spool.open("wb", buffering=0) as file:
        async for piece in pieces.grouped(body):
            limit -= len(piece)
            if limit < 0:
                raise BermError(Code.TOO_LARGE, "the upload is too large", "copy less in one step")
            await in_thread(partial(pieces.write, file.fileno(), piece))


def has(pool: Path, name: str) -> bool:
    return path(pool, name).is_dir()


def use(pool: Path, name: str) -> None:
    """Note that files are used now, by the access time: the pool is mounted so that nothing else sets it."""
    files = path(pool, name)
    os.utime(files, ns=(time.time_ns(), files.stat().st_mtime_ns))


def last_uses(pool: Path) -> Mapping[str, float]:
    """What there is, with the time of its last use in seconds since 1970."""
    found: dict[str, float] = {}
    for entry in directory(pool).glob("[!.]*"):
        with suppress(FileNotFoundError):
            found[entry.name] = entry.stat().st_atime
    return found


async def drop(pool: Path, names: Collection[str]) -> None:
    """Remove files; those that are not there are no error. They are gone at once, even for who is killed."""
    present = [name for name in names if has(pool, name)]
    if present:
        async with tree.scratch(directory(pool)) as gone:
            for name in present:
                path(pool, name).rename(gone / name)


async def sweep(pool: Path) -> None:
    """Remove what a killed process left unfinished; call it before anything is received."""
    await tree.sweep(directory(pool))
