"""Storage for template layers and for what sandboxes write, with a quota for each where there can be one."""

import errno
import fcntl
import os
import shutil
import struct
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final, Protocol

from berm.launcher import programs

_BTRFS_MAGIC: Final = 0x9123683E
_GIB: Final = 1 << 30
_MIB: Final = 1 << 20

# ioctl(2) requests of linux/btrfs.h: direction, size and number packed as _IOW and _IOWR do.
_SUBVOL_CREATE: Final = 0x5000940E
_SNAP_DESTROY: Final = 0x5000940F
_QUOTA_CTL: Final = 0xC0109428
_QGROUP_LIMIT: Final = 0x8030942B
_QUOTA_ENABLE, _QUOTA_ENABLE_SIMPLE = 1, 4
_LIMIT_MAX_RFER: Final = 1


class Pool(Protocol):
    """`layers/NAME` holds template layers, `sandboxes/ID` what a sandbox writes and its records.

    Storage is made ahead, for a slot, and claimed by a sandbox.
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
        """Give the storage made for a slot to a sandbox, limited to `disk_mb` MiB; returns its directory."""
        ...

    def discard(self, slot: int) -> None:
        """Free storage that nobody claimed. Safe to call again."""
        ...

    def remove(self, name: str) -> None:
        """Free all that a sandbox wrote. Safe to call again."""
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

    def close(self) -> None:
        """Unmount what `open_pool` mounted."""
        ...


def open_pool(root: Path, image: Path, size_gb: int) -> Pool:
    """The best pool this host offers: its own btrfs, a btrfs image, or plain directories without quotas."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    on_btrfs = _is_btrfs(root) or _mount_image(root, image, size_gb)
    # Only an image of ours is ours to unmount.
    mounted = on_btrfs and image.exists()
    for name in ("layers", "sandboxes"):
        (root / name).mkdir(mode=0o700, exist_ok=True)
    return BtrfsPool(root, mounted) if on_btrfs else PlainPool(root)


def _is_btrfs(path: Path) -> bool:
    done = programs.run("stat", "-f", "-c", "%t", str(path))
    return int(done, 16) == _BTRFS_MAGIC


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
    programs.run("mkfs.btrfs", "--quiet", "--force", "--metadata", "single", str(fresh))
    fresh.rename(image)


class _Storage(ABC):
    """What all pools do alike: the storage of sandbox ID is `sandboxes/ID`, unclaimed `sandboxes/.SLOT`."""

    quotas = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self._sandboxes = root / "sandboxes"

    def claim(self, slot: int, name: str, disk_mb: int) -> Path:
        path = self._sandboxes / f".{slot}"
        self._limit(path, disk_mb)
        if (self._sandboxes / name).exists():
            raise OSError(errno.EEXIST, f"sandbox {name} has storage already")
        return path.rename(self._sandboxes / name)

    def make(self, slot: int) -> None:
        self._create(f".{slot}")
        path = self._sandboxes / f".{slot}"
        path.chmod(0o711)
        (path / "slot").write_text(str(slot))
        for directory, mode in (("rw", 0o711), ("rw/upper", 0o755), ("rw/work", 0o755)):
            (path / directory).mkdir()
            (path / directory).chmod(mode)

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

    @abstractmethod
    def remove(self, name: str) -> None: ...

    @abstractmethod
    def _create(self, name: str) -> None: ...

    @abstractmethod
    def _limit(self, path: Path, disk_mb: int) -> None: ...


class BtrfsPool(_Storage):
    """A subvolume for each sandbox, limited by its quota group."""

    quotas = True

    def __init__(self, root: Path, mounted: bool) -> None:
        super().__init__(root)
        self._mounted = mounted
        self._fd = os.open(self._sandboxes, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._enable_quotas()

    def _enable_quotas(self) -> None:
        # Simple quotas (Linux 6.7) charge an extent to the subvolume that wrote it and cost next to nothing.
        for kind in (_QUOTA_ENABLE_SIMPLE, _QUOTA_ENABLE):
            try:
                fcntl.ioctl(self._fd, _QUOTA_CTL, struct.pack("=QQ", kind, 0))
            except OSError as failure:
                if failure.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.EEXIST):
                    raise
            else:
                return

    def _create(self, name: str) -> None:
        fcntl.ioctl(self._fd, _SUBVOL_CREATE, _volume(name))

    def _limit(self, path: Path, disk_mb: int) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Quota group 0 stands for the subvolume of the descriptor.
            limit = struct.pack("=QQQQQQ", 0, _LIMIT_MAX_RFER, disk_mb * _MIB, 0, 0, 0)
            fcntl.ioctl(fd, _QGROUP_LIMIT, limit)
        finally:
            os.close(fd)

    def remove(self, name: str) -> None:
        try:
            fcntl.ioctl(self._fd, _SNAP_DESTROY, _volume(name))
        except FileNotFoundError:
            return

    def close(self) -> None:
        os.close(self._fd)
        if self._mounted:
            programs.run("umount", str(self.root))


class PlainPool(_Storage):
    """Directories on any file system that overlayfs can write to; no limit on what a sandbox writes."""

    def _create(self, name: str) -> None:
        (self._sandboxes / name).mkdir(mode=0o700)

    def _limit(self, path: Path, disk_mb: int) -> None:
        """There is none; `quotas` says so."""

    def remove(self, name: str) -> None:
        # A sandbox can nest directories deeper than Python recurses; rm walks them by descriptor.
        programs.run("rm", "-rf", "--one-file-system", "--", str(self._sandboxes / name))

    def close(self) -> None:
        """Nothing was mounted."""


def _volume(name: str) -> bytearray:
    return bytearray(struct.pack("=q4088s", 0, name.encode()))
