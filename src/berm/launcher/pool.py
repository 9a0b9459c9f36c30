"""Storage for template layers and for what sandboxes write, with a quota for each where there can be one."""

import errno
import os
import shutil
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from berm.launcher import btrfs, programs

_GIB: Final = 1 << 30
_SMALL: Final = 4 * _GIB
_MIB: Final = 1 << 20
_UNLIMITED_MB: Final = 1 << 40

DIRECTORIES: Final = ("layers", "sandboxes", "branches", "paused", "marks", "caches", "files", "volumes")
REST: Final = "rest"
"""What a sandbox wrote and is no part of the layer that it became: to be removed, and of any depth."""


class Pool(Protocol):
    """What is kept, by the names of directories in `root`.

    `layers/NAME/tree` is a template layer. `sandboxes/ID` is what a sandbox writes (`rw/upper`) and its
    records; that is made ahead, for a slot, and claimed by a sandbox, unless its caller has prepared
    `branches/ID` for it. `marks/ID` has the generation of a paused sandbox; its storage outlives its
    processes and is `paused/ID` then.
    `caches/NAME`, `files/NAME` and `volumes/NAME/tree` are directories that sandboxes may mount.
    """

    @property
    def root(self) -> Path: ...

    @property
    def quotas(self) -> bool:
        """Whether a sandbox's disk limit is enforced."""
        ...

    def make(self, slot: int) -> None:
        """Make the storage of one more sandbox, empty, with `rw/upper` and `rw/work` in it."""
        ...

    def claim(self, slot: int, name: str, disk_mb: int) -> Path:
        """Give the storage made for a slot to a sandbox, limited to `disk_mb` MiB; returns its directory.

        A paused sandbox gets its own back; `rw` then holds nothing but `upper`.
        """
        ...

    def discard(self, slot: int) -> None:
        """Free storage that nobody claimed. Safe to call again."""
        ...

    def remove(self, name: str) -> None:
        """Free all that a sandbox wrote. Safe to call again."""
        ...

    def mark(self, name: str, generation: int) -> None:
        """Note that a sandbox is paused, for the `generation`th time."""
        ...

    def unmark(self, name: str) -> None:
        """Note that it no longer is. Safe to call again."""
        ...

    def generation(self, name: str) -> int | None:
        """How often a sandbox had been paused when it was paused last; None if it is not paused."""
        ...

    def put_away(self, name: str) -> None:
        """`remove`, but a sandbox that is marked as paused keeps its storage. Safe to call again."""
        ...

    def put_away_names(self) -> set[str]:
        """The paused sandboxes whose processes have ended."""
        ...

    def names(self) -> set[str]:
        """The sandboxes that have storage."""
        ...

    def spare(self) -> set[int]:
        """The slots that have storage nobody claimed."""
        ...

    def slot(self, name: str) -> int | None:
        """The slot of a sandbox, None if it has no storage."""
        ...

    def keep(self, name: str, layer: str) -> None:
        """Make what a sandbox wrote the template layer `layer`, without copying.

        What it wrote to its mounts is in REST beside the layer, for the caller to remove.
        """
        ...

    def close(self) -> None:
        """Unmount what `open_pool` mounted."""
        ...


def _remove_or_name(directory: Path, rest: Path) -> None:
    """Remove an empty directory. Another gets a name: it may hold more than is soon removed."""
    try:
        directory.rmdir()
    except OSError as failure:
        if failure.errno != errno.ENOTEMPTY:
            raise
        directory.rename(rest)


def open_pool(root: Path, image: Path, size_gb: int) -> Pool:
    """The best pool this host offers: its own btrfs, a btrfs image, or plain directories without quotas."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    on_btrfs = _is_btrfs(root) or _mount_image(root, image, size_gb)
    # Only an image of ours is ours to unmount.
    mounted = on_btrfs and image.exists()
    for name in DIRECTORIES:
        (root / name).mkdir(mode=0o700, exist_ok=True)
    return BtrfsPool(root, mounted) if on_btrfs else PlainPool(root)


def _is_btrfs(path: Path) -> bool:
    done = programs.run("stat", "-f", "-c", "%t", str(path))
    return int(done, 16) == btrfs.MAGIC


def _mount_image(root: Path, image: Path, size_gb: int) -> bool:
    if not programs.found("mkfs.btrfs"):
        return False
    if not image.exists():
        _make_image(image, size_gb)
    programs.run("mount", "-o", "loop,noatime,nosuid,nodev,discard=async", str(image), str(root))
    root.chmod(0o700)
    return True


def _make_image(image: Path, size_gb: int) -> None:
    # A pool larger than the disk under it would turn a full disk into a broken file system.
    size = min(size_gb * _GIB, shutil.disk_usage(image.parent).free * 9 // 10)
    fresh = image.with_suffix(".new")
    with fresh.open("wb") as file:
        file.truncate(size)
    fresh.chmod(0o600)
    # In a small one contents could take all the room before names get theirs; then not even removing works.
    mixed = ("--mixed", "--data", "single") if size < _SMALL else ()
    programs.run("mkfs.btrfs", "--quiet", "--force", *mixed, "--metadata", "single", str(fresh))
    fresh.rename(image)


class _Storage(ABC):
    """What all pools do alike: the storage of sandbox ID is `sandboxes/ID`, unclaimed `sandboxes/.SLOT`."""

    quotas = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self._sandboxes = root / "sandboxes"
        self._branches = root / "branches"
        self._paused = root / "paused"
        self._marks = root / "marks"

    def claim(self, slot: int, name: str, disk_mb: int) -> Path:
        if (self._sandboxes / name).exists():
            raise OSError(errno.EEXIST, f"sandbox {name} has storage already")
        path = next(filter(Path.exists, (self._branches / name, self._paused / name)), None)
        if path:
            # A full one has no room for what it needs to start.
            self._limit(path, _UNLIMITED_MB)
            self._furnish(path, slot)
            self.discard(slot)
        else:
            path = self._sandboxes / f".{slot}"
        self._limit(path, disk_mb)
        return path.rename(self._sandboxes / name)

    def mark(self, name: str, generation: int) -> None:
        # Not in its own storage, which may be full; and whole or not at all.
        fresh = self._marks / f".{name}"
        fresh.write_text(str(generation))
        fresh.rename(self._marks / name)

    def unmark(self, name: str) -> None:
        (self._marks / name).unlink(missing_ok=True)

    def generation(self, name: str) -> int | None:
        try:
            return int((self._marks / name).read_text())
        except FileNotFoundError:
            return None
        except ValueError:  # no pause has this number, so that it is kept and not resumed
            return 0

    def put_away(self, name: str) -> None:
        if not (self._marks / name).exists():
            self.remove(name)
            self._destroy(self._paused / name)
        elif (self._sandboxes / name).exists():
            (self._sandboxes / name).rename(self._paused / name)

    def put_away_names(self) -> set[str]:
        return {entry.name for entry in os.scandir(self._paused)}

    def make(self, slot: int) -> None:
        path = self._sandboxes / f".{slot}"
        self._create(path)
        self._furnish(path, slot)

    def _furnish(self, path: Path, slot: int) -> None:
        path.chmod(0o711)
        (path / "slot").write_text(str(slot))
        for directory, mode in (("rw", 0o711), ("rw/upper", 0o755), ("rw/work", 0o755)):
            with suppress(FileExistsError):
                (path / directory).mkdir()
                (path / directory).chmod(mode)

    def keep(self, name: str, layer: str) -> None:
        path, target = self._sandboxes / name, self.root / "layers" / layer
        if target.exists():
            raise OSError(errno.EEXIST, f"there is a layer {layer} already")
        (path / "log").unlink(missing_ok=True)
        (path / "rw/upper").rename(path / "tree")
        shutil.rmtree(path / "rw/work")
        _remove_or_name(path / "rw", path / REST)
        path.rename(target)
        # Last, as it tells which slot is to be freed should this process end before.
        (target / "slot").unlink()

    def discard(self, slot: int) -> None:
        self.remove(f".{slot}")

    def names(self) -> set[str]:
        return {entry.name for entry in os.scandir(self._sandboxes) if not entry.name.startswith(".")}

    def spare(self) -> set[int]:
        return {int(entry.name[1:]) for entry in os.scandir(self._sandboxes) if entry.name.startswith(".")}

    def slot(self, name: str) -> int | None:
        try:
            return int((self._sandboxes / name / "slot").read_text())
        except (FileNotFoundError, NotADirectoryError):
            return None

    def remove(self, name: str) -> None:
        self._destroy(self._sandboxes / name)

    @abstractmethod
    def _destroy(self, path: Path) -> None: ...

    @abstractmethod
    def _create(self, path: Path) -> None: ...

    @abstractmethod
    def _limit(self, path: Path, disk_mb: int) -> None: ...


class BtrfsPool(_Storage):
    """A subvolume for each sandbox, limited by its quota group."""

    quotas = True

    def __init__(self, root: Path, mounted: bool) -> None:
        super().__init__(root)
        self._mounted = mounted
        btrfs.enable_quotas(root)

    def _create(self, path: Path) -> None:
        btrfs.create(path)

    def _limit(self, path: Path, disk_mb: int) -> None:
        btrfs.limit(path, disk_mb * _MIB)

    def _destroy(self, path: Path) -> None:
        btrfs.destroy(path)

    def close(self) -> None:
        if self._mounted:
            programs.run("umount", str(self.root))


class PlainPool(_Storage):
    """Directories on any file system that overlayfs can write to; no limit on what a sandbox writes."""

    def _create(self, path: Path) -> None:
        path.mkdir(mode=0o700)

    def _limit(self, path: Path, disk_mb: int) -> None:
        """There is none; `quotas` says so."""

    def _destroy(self, path: Path) -> None:
        # A sandbox can nest directories deeper than Python recurses; rm walks them by descriptor.
        programs.run("rm", "-rf", "--one-file-system", "--", str(path))

    def close(self) -> None:
        """Nothing was mounted."""
