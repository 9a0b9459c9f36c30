"""Ids: a range of 65536 for each user namespace, and mounts seen through it."""

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

    @classmethod
    def of(cls, pid: int) -> "Namespaces":
        """Those that a process is in."""
        return cls(
            *(os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("user", "net"))
        )

    def close(self) -> None:
        os.close(self.user)
        os.close(self.net)


def map_ids(pid: int, first_id: int) -> None:
    """Map the ids of the new user namespace that `pid` is in to the host's from `first_id` on.

    user_namespaces(7): a process may not choose the host's ids for itself, so its parent does.
    """
    for table in ("uid_map", "gid_map"):
        fd = os.open(f"/proc/{pid}/{table}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, f"0 {first_id} {RANGE}".encode())
        finally:
            os.close(fd)


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
