"""User namespaces, one range of 65536 ids each, and mounts seen through them."""

import os
from dataclasses import dataclass
from typing import Final

from berm.launcher import syscalls

RANGE: Final = 65536


@dataclass(frozen=True, slots=True)
class Namespaces:
    """Open descriptors of a user namespace and of the network namespace it owns."""

    user: int
    net: int

    def close(self) -> None:
        os.close(self.user)
        os.close(self.net)


def make_namespaces(first_id: int) -> Namespaces:
    """A new user namespace for host ids from `first_id` on, owning a new network namespace.

    A process has to stand in them while the id maps are written (user_namespaces(7)), so one is forked.
    """
    inside, outside = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        _stand_in(inside[1], outside[0])
    try:
        if os.read(inside[0], 1) != b"1":
            raise OSError("unshare: no new user namespace; see /proc/sys/user/max_user_namespaces")
        for table in ("uid_map", "gid_map"):
            _write(f"/proc/{pid}/{table}", f"0 {first_id} {RANGE}")
        return Namespaces(_open(f"/proc/{pid}/ns/user"), _open(f"/proc/{pid}/ns/net"))
    finally:
        for fd in (*inside, *outside):
            os.close(fd)
        os.waitpid(pid, 0)


def _stand_in(done: int, leave: int) -> None:
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNET)
        os.write(done, b"1")
    except OSError:
        os.write(done, b"0")
    finally:
        # Ends at once when the parent closes its side, which it does once it has opened the namespaces.
        os.closerange(3, leave)
        os.closerange(leave + 1, 1024)
        os.read(leave, 1)
        os._exit(0)


def mapped_tree(path: str, user_namespace: int) -> int:
    """A detached copy of the mount at `path` whose ids are those of the user namespace; a descriptor."""
    tree = syscalls.open_tree(path)
    try:
        syscalls.mount_setattr(
            tree, syscalls.MountAttr(attr_set=syscalls.MOUNT_ATTR_IDMAP, userns_fd=user_namespace)
        )
    except OSError:
        os.close(tree)
        raise
    return tree


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
