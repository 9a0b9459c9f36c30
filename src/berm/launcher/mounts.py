"""What is in a sandbox beside its root: layers, kept directories and memory, mounted where the spec says.

In two halves. Before the sandbox's own root is entered each content is a detached mount; afterwards each is
attached to its target, so that the links on the way to a target, which are the image's, lead nowhere else.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from berm.launcher import syscalls
from berm.launcher.spec import KERNEL, MountSpec, is_kernels
from berm.launcher.syscalls import MS_NODEV, MS_NOSUID, MS_RDONLY

_ALWAYS: Final = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
_INSIDE: Final = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS


class MountError(OSError):
    """A mount that the sandbox's files or its spec do not allow."""


def open_all(mounts: Sequence[MountSpec], trees: Sequence[str]) -> list[int]:
    """The content of each mount, detached; `trees` are the paths of what was handed over."""
    return [_open(mount, trees, f"/m{number}") for number, mount in enumerate(mounts)]


def _open(mount: MountSpec, trees: Sequence[str], place: str) -> int:
    with _refusing(mount):
        root = os.open(_whole(mount, trees, place), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return _detached(root, mount)
        finally:
            os.close(root)


def _whole(mount: MountSpec, trees: Sequence[str], place: str) -> str:
    """A directory with all of a content, put together at `place` if need be."""
    if mount.size_mb:
        _mount_memory(mount, place)
    elif mount.is_overlaid or len(mount.trees) > 1:
        _mount_overlay(mount, [trees[index] for index in reversed(mount.trees)], place)
    else:
        return trees[mount.trees[0]]
    return place


def _mount_overlay(mount: MountSpec, lower: Sequence[str], place: str) -> None:
    """Layers, top first, as one tree; what is written to it lies beside what is written to the root."""
    Path(place).mkdir()
    options, flags = f"lowerdir={':'.join(lower)},userxattr", MS_NOSUID | MS_NODEV
    if mount.is_overlaid:
        own = _own_storage(place, lower[0])
        options += f",upperdir={own}/upper,workdir={own}/work,volatile"
    else:
        flags |= MS_RDONLY
    syscalls.mount("overlay", place, "overlay", flags, options)


def _own_storage(place: str, top: str) -> str:
    own = f"/rw{place}"
    for directory in (own, f"{own}/work", f"{own}/upper"):
        Path(directory).mkdir()
    # The root of an overlay looks like that of its uppermost directory.
    look = Path(top).stat()
    os.chown(f"{own}/upper", look.st_uid, look.st_gid)
    Path(f"{own}/upper").chmod(stat.S_IMODE(look.st_mode))
    return own


def _mount_memory(mount: MountSpec, place: str) -> None:
    Path(place).mkdir()
    owner = f"uid={mount.uid},gid={mount.gid}"
    options = f"size={mount.size_mb}m,mode={mount.mode:o},{owner}"
    syscalls.mount("tmpfs", place, "tmpfs", MS_NOSUID | MS_NODEV, options)
    if mount.path:
        os.close(os.open(f"{place}/{mount.path}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _detached(root: int, mount: MountSpec) -> int:
    content = _resolve(root, mount.path or ".")
    try:
        tree = syscalls.open_tree("", content)
    finally:
        os.close(content)
    read_only = syscalls.MOUNT_ATTR_RDONLY if mount.read_only else 0
    syscalls.mount_setattr(tree, syscalls.MountAttr(attr_set=_ALWAYS | read_only))
    return tree


def attach(mounts: Sequence[MountSpec], contents: Sequence[int]) -> None:
    """Attach each content at its target in the root that was entered, making the target if there is none."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for mount, content in zip(mounts, contents, strict=True):
        with _refusing(mount):
            target = _target(root, mount.target, stat.S_ISDIR(os.fstat(content).st_mode))
            syscalls.move_mount(content, "", target)
            os.close(target)
            os.close(content)
    os.close(root)


@contextmanager
def _refusing(mount: MountSpec) -> Iterator[None]:
    try:
        yield
    except OSError as failure:
        content = f" ({mount.path!r} of its content)" if mount.path else ""
        reason = os.strerror(failure.errno) if failure.errno else failure
        raise MountError(f"could not mount {mount.target}{content}: {reason}") from failure


def _target(root: int, path: str, directory: bool) -> int:
    """A descriptor of what a mount goes on: a directory or a file, never the kernel's nor the root."""
    target = _existing(root, path)
    if target is None:
        target = _make(root, path, directory)
    if stat.S_ISDIR(os.fstat(target).st_mode) != directory:
        kinds = ("a directory", "no directory")
        raise OSError(f"the content is {kinds[not directory]} and what is there is {kinds[directory]}")
    return target


def _existing(root: int, path: str) -> int | None:
    try:
        return _allowed(_resolve(root, path))
    except FileNotFoundError:
        return None


def _resolve(root: int, path: str) -> int:
    return syscalls.openat2(root, path, os.O_PATH | os.O_CLOEXEC, _INSIDE)


def _allowed(fd: int) -> int:
    where = str(Path(f"/proc/self/fd/{fd}").readlink())
    if where == "/" or is_kernels(where):
        os.close(fd)
        raise OSError(f"it leads to {where}, and nothing is mounted on /, {', '.join(KERNEL)}")
    return fd


def _make(root: int, path: str, directory: bool) -> int:
    """Make what is missing of a path, of which each step is looked at before anything is made there."""
    above, name = os.path.split(path.rstrip("/"))
    parent = root if above == "/" else _existing(root, above)
    if parent is None:
        parent = _make(root, above, True)
    try:
        return _make_in(parent, name, directory)
    finally:
        if parent != root:
            os.close(parent)


def _make_in(parent: int, name: str, directory: bool) -> int:
    if directory:
        # It is there already only as a link that leads nowhere, which opening it then tells.
        with suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=parent)
        return os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    return os.open(name, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=parent)
