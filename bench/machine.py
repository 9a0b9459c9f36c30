"""What is read from the host: a sandbox's process 1, its memory, the base template's files."""

import asyncio
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

from berm.config import Config, load
from berm.control.keys import Keys
from berm.control.templates import Templates
from berm.launcher import cgroup, syscalls
from berm.node import layers
from berm.node.daemon import instance
from berm.store.database import Database

TEMPLATE: Final = "base"

_SECOND_TREE: Final = Path("/sys/fs/cgroup/unified")
_MEMORY_FILES: Final = ("/sys/fs/cgroup/memory{}/memory.usage_in_bytes", "/sys/fs/cgroup{}/memory.current")


def describe() -> dict[str, str]:
    return {
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "berm": version("berm"),
        "e2b": version("e2b"),
    }


@cache
def config() -> Config:
    """The measured server's settings, from the same environment as its own."""
    return load()


def init_pid(sandbox_id: str) -> int:
    """The host's pid of process 1 of a running sandbox."""
    slot = (config().pool_dir / "sandboxes" / sandbox_id / "slot").read_text().strip()
    pids = cgroup.detect(instance(config().home)).processes(slot)
    return next(pid for pid in pids if _status(pid, "NSpid").split()[-1] == "1")


def private_mib(pid: int) -> float:
    """Memory that only this process maps: what the sandbox costs beside what all sandboxes share."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in rollup if line.startswith("Private_")) / 1024


def cgroup_mib(pid: int) -> float:
    """Memory that the process's control group is charged with: kernel memory and page cache too."""
    groups = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    path = next(path for _, names, path in groups if names in ("memory", "") and path != "/")
    found = next(file for name in _MEMORY_FILES if (file := Path(name.format(path))).exists())
    return int(found.read_text()) / 2**20


def hide_mounts() -> None:
    """Give this process mounts of its own, without the version 2 tree beside version 1 that crun refuses."""
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    if _SECOND_TREE.is_mount():
        syscalls.umount2(str(_SECOND_TREE), 0)


@contextmanager
def base_rootfs() -> Iterator[Path]:
    """The base template's layers as one read-only directory, for the ways that want one."""
    trees = [str(layers.path(config().pool_dir, name)) for name in reversed(asyncio.run(_base_layers()))]
    with tempfile.TemporaryDirectory(prefix="berm-bench-") as directory:
        options = f"ro,lowerdir={':'.join(trees)}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, directory], check=True)
        try:
            yield Path(directory)
        finally:
            subprocess.run(["umount", directory], check=True)


async def _base_layers() -> tuple[str, ...]:
    database = Database(config().database)
    try:
        team = await Keys(database).first_team()
        return (await Templates(database).resolve(team.team_id, TEMPLATE)).layers
    finally:
        await database.close()


def _status(pid: int, name: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.partition(":")[2] for line in lines if line.startswith(f"{name}:"))
