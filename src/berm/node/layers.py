"""Template layers on disk: `layers/NAME/tree` of the pool is one, whole or not there at all.

Where the pool is btrfs, NAME is a subvolume, so that a layer comes from a sandbox by renaming and goes at
once. Each subvolume numbers its inodes for itself, but overlayfs shows those of all layers as of one device:
two files of one number would be the same file to cp, mv and tar. So the subvolume of a layer is a branch of
the one below it, whose numbers it continues; what it has of that one beside `tree` is shared.
"""

import asyncio
import errno
import os
import stat
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final

from berm.errors import BermError, Code
from berm.images import process, tree
from berm.images.threads import in_thread
from berm.launcher import btrfs
from berm.launcher.pool import REST

_BELOW: Final = "below"
_UNFINISHED: Final = ".partial-"
_RESERVED: Final = 8
"""One part in so many of the pool stays free: btrfs takes tenths of it for contents, and for the names of
files what is left; without any room for those nothing can be made, nor even removed."""
WRITTEN: Final = "rw/upper"
"""Where in its storage that is which a sandbox wrote to its root."""
FULL: Final = (errno.ENOSPC, errno.EDQUOT)
"""What the kernel says when there is no room, of the pool or of a limit."""


def path(pool: Path, name: str) -> Path:
    """The tree of a layer, whether it is there yet or not."""
    return pool / "layers" / name / "tree"


def names(pool: Path) -> frozenset[str]:
    """The layers there are."""
    entries = (pool / "layers").glob("[!.]*")
    return frozenset(entry.name for entry in entries if path(pool, entry.name).exists())


def prepare(pool: Path, name: str) -> Path:
    """Make the storage of a layer that stands on no other; returns where its tree has to be made.

    It does not get all of the pool. Raises BermError NO_SPACE.
    """
    target = path(pool, name)
    with _needing_room():
        if not target.parent.exists():
            _create(target.parent)
        _leave_room(target.parent)
    return target


def _leave_room(storage: Path) -> None:
    space = os.statvfs(storage)
    size = (space.f_bavail - space.f_blocks // _RESERVED) * space.f_frsize
    if size <= 0:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with suppress(OSError):  # only btrfs counts
        btrfs.limit(storage, size)


@contextmanager
def _needing_room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        hint = "delete templates, or give the pool more with BERM_POOL_GB"
        raise BermError(Code.NO_SPACE, "there is no space left in the pool", hint) from error


@asynccontextmanager
async def staged(pool: Path, name: str, above: str = "") -> AsyncIterator[Path]:
    """A path for the tree of a new layer on the layer `above`, or on none.

    It becomes the layer when the block ends well and is removed otherwise. It is not synced: see `settle`.
    """
    storage = pool / "layers" / f"{_UNFINISHED}{uuid.uuid4().hex}"
    try:
        await asyncio.to_thread(_begin, pool, storage, above)
        yield storage / "tree"
        await asyncio.to_thread(storage.rename, pool / "layers" / name)
    finally:
        await asyncio.shield(remove(storage))


@asynccontextmanager
async def copied(pool: Path, name: str) -> AsyncIterator[Path]:
    """A path for a copy of a sandbox's storage, of which what it wrote becomes a layer as the block ends."""
    storage = pool / "layers" / f"{_UNFINISHED}{uuid.uuid4().hex}"
    try:
        yield storage
        (storage / WRITTEN).rename(storage / "tree")
        for entry in [entry for entry in storage.iterdir() if entry.name != "tree"]:
            await tree.remove(entry)
        await asyncio.to_thread(storage.rename, pool / "layers" / name)
    finally:
        await asyncio.shield(remove(storage))


async def copy(storage: Path, target: Path) -> None:
    """Copy what a sandbox has written, which nobody changes meanwhile, with the place that it has in storage.

    Raises BermError NO_SPACE, NOT_FOUND if the sandbox ends.
    """
    await _copy(storage, WRITTEN, target, WRITTEN)


async def begin_from(pool: Path, layer: str, target: Path) -> None:
    """Make the directory `target` storage in which what is in a layer counts as written by the sandbox.

    Raises BermError NO_SPACE.
    """
    await _copy(pool / "layers" / layer, "tree", target, "tree")
    (target / WRITTEN).parent.mkdir(mode=0o711, exist_ok=True)
    (target / "tree").rename(target / WRITTEN)


async def _copy(source: Path, part: str, target: Path, name: str) -> None:
    """A branch of the subvolume `source`, or a new directory with a copy of a part of it."""
    if await in_thread(lambda _: btrfs.branch(source, target)):
        return
    await asyncio.to_thread((target / name).parent.mkdir, mode=0o711, parents=True)
    # -a keeps owners, times, links, holes, extended attributes and the marks of what was deleted.
    await process.run(["cp", "-a", "--reflink=auto", "--", str(source / part), str(target / name)])


def _begin(pool: Path, storage: Path, above: str) -> None:
    if not above or not branch(pool, above, storage):
        with _needing_room():
            _create(storage)


def branch(pool: Path, layer: str, target: Path) -> bool:
    """Make the directory `target` storage for what is written on a layer; False where that needs no care.

    Raises BermError NO_SPACE.
    """
    with _needing_room():
        if not btrfs.branch(pool / "layers" / layer, target):
            return False
    _put_below(target)
    return True


async def tidy_written(storage: Path) -> None:
    """Leave of what a sandbox has written only its root: what is beside that goes with its processes."""
    for entry in [entry for entry in (storage / "rw").iterdir() if entry.name != "upper"]:
        await tree.remove(entry)


def _put_below(storage: Path) -> None:
    fresh = storage / f"{_BELOW}.new"
    fresh.mkdir(mode=0o700)
    for entry in [entry for entry in storage.iterdir() if entry != fresh]:
        entry.rename(fresh / entry.name)
    fresh.rename(storage / _BELOW)


def _create(directory: Path) -> None:
    try:
        btrfs.create(directory)
    except OSError:
        directory.mkdir()
    directory.chmod(0o711)


async def remove(directory: Path) -> None:
    """Remove a directory or subvolume with all that is in it. Safe to call again."""
    if not await asyncio.to_thread(_gone, directory):
        await tree.remove(directory)


def _gone(directory: Path) -> bool:
    return btrfs.destroy(directory) or not directory.exists()


async def drop(pool: Path, name: str) -> None:
    """Remove a layer; safe to call again. It is gone as a whole, even for who is killed meanwhile."""
    gone = pool / "layers" / f"{_UNFINISHED}{name}"
    await remove(gone)
    try:
        (pool / "layers" / name).rename(gone)
    except FileNotFoundError:
        return
    await remove(gone)


async def remove_rest(pool: Path, name: str) -> None:
    """Remove what a sandbox left beside what is a layer now. Safe to call again."""
    rest = pool / "layers" / name / REST
    if rest.exists():
        await tree.remove(rest)


async def sweep(pool: Path) -> None:
    """Remove what killed processes left unfinished; call it before anything makes layers or sandboxes."""
    unfinished = [entry for entry in (pool / "layers").iterdir() if _is_unfinished(entry)]
    rests = (pool / "layers").glob(f"*/{REST}")
    for leftover in (*unfinished, *rests, *(pool / "branches").iterdir(), *(pool / "caches").glob(".*")):
        await remove(leftover)


def _is_unfinished(entry: Path) -> bool:
    if entry.name.startswith(_UNFINISHED):
        return True
    return entry.is_dir() and all(child.name.startswith(_UNFINISHED) for child in entry.iterdir())


def size(directory: Path) -> int:
    """Bytes in the files of a tree, each hard-linked one counted once; takes time, so call it in a thread."""
    seen: set[int] = set()
    total = 0
    for status in _files(directory):
        if status.st_nlink > 1:
            if status.st_ino in seen:
                continue
            seen.add(status.st_ino)
        # A sparse file holds less than it says.
        total += min(status.st_size, status.st_blocks * 512)
    return total


def _files(directory: Path) -> Iterator[os.stat_result]:
    waiting = [str(directory)]
    while waiting:
        for entry in _entries(waiting.pop()):
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            elif stat.S_ISREG((status := entry.stat(follow_symlinks=False)).st_mode):
                yield status


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except OSError:  # a hostile tree may be deeper than a path can be long
        return []
