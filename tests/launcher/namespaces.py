"""Namespaces without a process in them, for tests that only wire them up."""

import os

from berm.launcher import idmap, syscalls


def fresh(first_id: int) -> idmap.Namespaces:
    """A user namespace and its network namespace, which live as long as they are open."""
    reader, writer = os.pipe()
    pid = syscalls.clone(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNET)
    if pid == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    idmap.map_ids(pid, first_id)
    namespaces = idmap.Namespaces.of(pid)
    for fd in (reader, writer):
        os.close(fd)
    os.waitpid(pid, 0)
    return namespaces
