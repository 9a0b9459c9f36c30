"""Volumes: `volumes/ID/tree` of the pool is what sandboxes have mounted, whole or not there at all.

Beside the tree, where no sandbox reaches, is what is not in it yet and what is not in it any more: a file
gets its name when it is whole, and a directory loses its own before it is emptied.
"""

import asyncio
import logging
import os
import stat
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from berm.errors import BermError, Code
from berm.images import tree
from berm.images.threads import Check, in_thread
from berm.launcher import btrfs
from berm.models import VolumeEntry
from berm.node import layers, pieces, trees
from berm.node.interface import Attributes

T = TypeVar("T")
log = logging.getLogger(__name__)

_COMING, _GOING = "coming", "going"
_OWNER: Final = (1000, 1000)
"""As of the user that templates usually have."""
_ROOT_MODE: Final = 0o777
"""Whatever user a template has may write to a volume."""
_FILE: Final = Attributes(*_OWNER, 0o644)
_TO_REMOVE: Final = 16 << 20
"""What a full volume gets for as long as a directory is moved."""


class Volumes:
    """Volumes (see interface.py) in a pool; each may hold `size` bytes, where the pool has quotas."""

    def __init__(self, pool: Path, size: int) -> None:
        self._root = pool / "volumes"
        self._size = size

    async def sweep(self) -> None:
        """Remove what a killed process left, and limit all as is wanted now; call it before all else."""
        leftovers = [*self._root.glob(f"{tree.PARTIAL}*")]
        for name in self.names():
            storage = self._root / name
            leftovers += [*(storage / _COMING).iterdir(), *(storage / _GOING).iterdir()]
            _limit(storage, self._size)
        for leftover in leftovers:
            await _discard(leftover)

    def names(self) -> Collection[str]:
        return [entry.name for entry in self._root.glob("[!.]*")]

    async def make(self, volume_id: str) -> None:
        with trees.telling("a new volume"):
            await asyncio.to_thread(self._make, volume_id)

    def _make(self, volume_id: str) -> None:
        self._root.mkdir(mode=0o700, exist_ok=True)
        fresh = self._root / f"{tree.PARTIAL}{uuid.uuid4().hex}"
        try:
            btrfs.create(fresh)
        except OSError:
            fresh.mkdir()
        for directory in (fresh, fresh / _COMING, fresh / _GOING):
            directory.mkdir(exist_ok=True)
            directory.chmod(0o700)
        (fresh / "tree").mkdir()
        os.chown(fresh / "tree", *_OWNER)
        (fresh / "tree").chmod(_ROOT_MODE)
        _limit(fresh, self._size)
        fresh.rename(self._root / volume_id)

    async def drop(self, volume_id: str) -> None:
        gone = self._root / f"{tree.PARTIAL}{uuid.uuid4().hex}"
        with suppress(FileNotFoundError):
            (self._root / volume_id).rename(gone)
            await _discard(gone)

    def content(self, volume_id: str) -> "Content":
        return Content(self._root / volume_id, self._size)


@dataclass(frozen=True, slots=True)
class Content:
    """VolumeContent (see interface.py)."""

    storage: Path
    size: int

    async def look(self, path: str) -> VolumeEntry:
        return await self._act(path, trees.look)

    async def list(self, path: str, depth: int) -> list[VolumeEntry]:
        clean = trees.cleaned(path)
        return await in_thread(lambda check: self._acted(clean, partial(_listed, depth=depth, check=check)))

    async def change(self, path: str, wanted: Attributes) -> VolumeEntry:
        return await self._act(path, partial(trees.change, wanted=wanted))

    async def make_directory(self, path: str, wanted: Attributes, *, force: bool) -> VolumeEntry:
        return await self._act(path, partial(trees.make_directory, wanted=wanted, force=force))

    async def remove(self, path: str) -> None:
        gone = self.storage / _GOING / uuid.uuid4().hex
        try:
            directory = await self._act(path, partial(_take_out, gone=gone))
        except BermError as error:
            if error.code is not Code.NO_SPACE:
                raise
            directory = await self._act(path, partial(self._take_out_of_full, gone=gone))
        if directory:
            # Who is in it goes on writing if he likes: it is not in the volume any more.
            with suppress(BermError):
                await asyncio.shield(tree.remove(gone))

    def _take_out_of_full(self, root: int, path: str, gone: Path) -> bool:
        """The same where there is no room for another name."""
        _limit(self.storage, self.size + _TO_REMOVE)
        try:
            return _take_out(root, path, gone)
        finally:
            _limit(self.storage, self.size)

    async def open(self, path: str) -> "File":
        fd = await self._act(path, trees.open_file)
        return File(fd, os.fstat(fd).st_size)

    async def write(
        self, path: str, body: AsyncIterator[bytes], wanted: Attributes, *, force: bool | None
    ) -> VolumeEntry:
        path = trees.cleaned(path)
        # An answer now is better than one after all has been sent.
        await self._act(path, partial(_check_place, force=force))
        with self._coming(path) as fresh:
            await self._fill(fresh.fd, path, body)
            return await self._act(path, partial(_put, fresh=fresh, wanted=wanted, force=force))

    @contextmanager
    def _coming(self, path: str) -> Iterator["_Fresh"]:
        name = self.storage / _COMING / uuid.uuid4().hex
        with trees.telling(path):
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            yield _Fresh(name, fd)
        finally:
            os.close(fd)
            name.unlink(missing_ok=True)

    async def _fill(self, fd: int, path: str, body: AsyncIterator[bytes]) -> None:
        left = self.size
        async for piece in pieces.grouped(body):
            left -= len(piece)
            if left < 0:
                raise BermError(
                    Code.NO_SPACE,
                    f"{path}: a volume holds {self.size} bytes",
                    "set BERM_VOLUME_GB to have more",
                )
            await in_thread(partial(_write, fd, path, piece))

    async def _act(self, path: str, action: Callable[[int, str], T]) -> T:
        """Do something with the root of the tree and the path, cleaned, in a thread."""
        clean = trees.cleaned(path)
        return await in_thread(lambda _: self._acted(clean, action))

    def _acted(self, path: str, action: Callable[[int, str], T]) -> T:
        with trees.telling(path):
            root = os.open(self.storage / "tree", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                return action(root, path)
            finally:
                os.close(root)


@dataclass(frozen=True, slots=True)
class _Fresh:
    """A file that has no name in the tree yet, open to be written."""

    name: Path
    fd: int


@dataclass(slots=True)
class File:
    """VolumeFile (see interface.py)."""

    fd: int
    size: int

    async def read(self, offset: int, size: int) -> bytes:
        return await asyncio.to_thread(os.pread, self.fd, size, offset)

    def close(self) -> None:
        os.close(self.fd)


def _listed(root: int, path: str, depth: int, check: Check) -> list[VolumeEntry]:
    try:
        return trees.listing(root, path, depth, check)
    except NotADirectoryError:
        raise BermError(Code.INVALID_ARGUMENT, f"{path} is no directory") from None


async def _discard(path: Path) -> None:
    """Remove what nobody can see any more; what resists is tried again when the server starts next."""
    try:
        await layers.remove(path)
    except (OSError, BermError) as failure:
        log.warning("%s could not be removed: %s", path, failure)


def _limit(storage: Path, size: int) -> None:
    with suppress(OSError):  # only btrfs counts
        btrfs.limit(storage, size)


def _take_out(root: int, path: str, gone: Path) -> bool:
    """Remove a file; or move a directory to `gone`, and return True."""
    above, name = trees.split(path)
    with trees.parent(root, above, make=False) as fd:
        try:
            os.unlink(name, dir_fd=fd)
        except IsADirectoryError:
            os.rename(name, gone, src_dir_fd=fd)
            return True
    return False


def _check_place(root: int, path: str, force: bool | None) -> os.stat_result | None:
    """What is where a file is to be. Raises BermError if it cannot be there."""
    above, name = trees.split(path)
    with trees.parent(root, above, make=force is True) as fd:
        present = trees.there(fd, name)
    if present and stat.S_ISDIR(present.st_mode):
        raise BermError(Code.INVALID_ARGUMENT, f"{path} is a directory")
    if present and force is False:
        raise BermError(Code.CONFLICT, f"{path} exists", "give force to overwrite it")
    return present


def _put(root: int, path: str, fresh: _Fresh, wanted: Attributes, force: bool | None) -> VolumeEntry:
    """Give a whole file its name. It replaces another, whose owner and mode it has if none are wanted."""
    present = _check_place(root, path, force)
    if present and stat.S_ISREG(present.st_mode):
        wanted = wanted.over(Attributes(present.st_uid, present.st_gid, stat.S_IMODE(present.st_mode)))
    trees.give(fresh.fd, wanted.over(_FILE))
    above, name = trees.split(path)
    with trees.parent(root, above, make=False) as directory:
        if force is False:
            os.link(fresh.name, name, dst_dir_fd=directory, follow_symlinks=False)
        else:
            os.rename(fresh.name, name, dst_dir_fd=directory)
    return trees.entry(path, os.fstat(fresh.fd), "", fresh.fd)


def _write(fd: int, path: str, data: bytes, check: Check) -> None:
    with trees.telling(path):
        pieces.write(fd, data, check)
