"""Subvolumes of btrfs by ioctl(2); the requests are those of linux/btrfs.h, packed as _IOW and _IOWR do."""

import errno
import fcntl
import os
import struct
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

MAGIC: Final = 0x9123683E

SYSFS: Final = Path("/sys/fs/btrfs")

_SNAP_CREATE: Final = 0x50009401
_SUBVOL_CREATE: Final = 0x5000940E
_SNAP_DESTROY: Final = 0x5000940F
_INO_LOOKUP: Final = 0xD0009412
_FS_INFO: Final = 0x8400941F
_QUOTA_CTL: Final = 0xC0109428
_QGROUP_LIMIT: Final = 0x8030942B
_QUOTA_ENABLE, _QUOTA_ENABLE_SIMPLE = 1, 4
_LIMIT_MAX_EXCL: Final = 2

_NO_SUBVOLUME: Final = (errno.ENOTTY, errno.EINVAL, errno.EOPNOTSUPP)
"""Of what is no subvolume, or lies on a file system that has none."""


def create(path: Path) -> None:
    """Make an empty subvolume. Raises OSError."""
    with _opened(path.parent) as parent:
        fcntl.ioctl(parent, _SUBVOL_CREATE, _volume(path.name))


def branch(source: Path, target: Path) -> bool:
    """Make `target` a writable snapshot of the subvolume `source`; False where `source` is none.

    Its inode numbers go on where those of `source` end. What `source` has only in memory is written first.
    """
    with _opened(source) as origin, _opened(target.parent) as parent:
        try:
            fcntl.ioctl(parent, _SNAP_CREATE, _volume(target.name, origin))
        except OSError as failure:
            if failure.errno in _NO_SUBVOLUME:
                return False
            raise
    return True


def destroy(path: Path) -> bool:
    """Remove a subvolume with all that is in it, at once; False if it is not there or no subvolume."""
    try:
        with _opened(path.parent) as parent:
            fcntl.ioctl(parent, _SNAP_DESTROY, _volume(path.name))
    except OSError as failure:
        if failure.errno in (errno.ENOENT, errno.ENOTDIR, *_NO_SUBVOLUME):
            return False
        raise
    return True


def enable_quotas(path: Path) -> None:
    """Have the file system of `path` count what each subvolume holds. Safe to call again."""
    # Simple quotas (Linux 6.7) charge an extent to the subvolume that wrote it and cost next to nothing.
    with _opened(path) as fd:
        for kind in (_QUOTA_ENABLE_SIMPLE, _QUOTA_ENABLE):
            try:
                fcntl.ioctl(fd, _QUOTA_CTL, struct.pack("=QQ", kind, 0))
            except OSError as failure:
                if failure.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.EEXIST):
                    raise
            else:
                return


def limit(path: Path, size: int) -> None:
    """Let a subvolume hold at most `size` bytes that no other holds as well."""
    with _opened(path) as fd:
        # Quota group 0 stands for the subvolume of the descriptor.
        fcntl.ioctl(fd, _QGROUP_LIMIT, struct.pack("=QQQQQQ", 0, _LIMIT_MAX_EXCL, 0, size, 0, 0))


def quota_group(path: Path, sysfs: Path = SYSFS) -> Path | None:
    """The directory in which the kernel shows what a subvolume holds; None where nothing counts that."""
    tree, info = bytearray(4096), bytearray(1024)
    # Of the root directory (inode 256): the answer begins with the number of the tree that it is in.
    struct.pack_into("=QQ", tree, 0, 0, 256)
    try:
        with _opened(path) as fd:
            fcntl.ioctl(fd, _INO_LOOKUP, tree)
            fcntl.ioctl(fd, _FS_INFO, info)
    except OSError as failure:
        if failure.errno in _NO_SUBVOLUME:
            return None
        raise
    group = (
        sysfs / str(uuid.UUID(bytes=bytes(info[16:32]))) / f"qgroups/0_{struct.unpack_from('=Q', tree)[0]}"
    )
    return group if group.is_dir() else None


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _volume(name: str, fd: int = 0) -> bytearray:
    return bytearray(struct.pack("=q4088s", fd, name.encode()))
