"""Control groups: one small interface, a driver for version 2 and one for version 1, chosen by looking."""

import errno
import os
import signal
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from berm.launcher import accounting, syscalls

MOUNTS: Final = Path("/sys/fs/cgroup")
PERIOD_US: Final = 100_000
_MIB: Final = 1 << 20


class Limits(Protocol):
    """What a sandbox may use at most; memory in MiB."""

    @property
    def cpu_count(self) -> int: ...
    @property
    def memory_mb(self) -> int: ...
    @property
    def pids(self) -> int: ...


class Cgroups(Protocol):
    """The control groups of all sandboxes of one instance, a group for each sandbox id."""

    def set_up(self) -> None:
        """Make the parent of all groups. Safe to call again."""
        ...

    def make(self, name: str) -> None: ...

    def limit(self, name: str, limits: Limits) -> None: ...

    def clone_into(self, name: str, namespaces: int) -> int:
        """clone(2) with new namespaces, whose child is in the group when this returns there."""
        ...

    def processes(self, name: str) -> list[int]:
        """Process ids in the group; none when there is no such group."""
        ...

    def freeze(self, name: str, frozen: bool) -> bool:
        """Stop all processes of the group, or let them go on; whether they all have stopped by now.

        That takes the moment in which each of them leaves the kernel: ask again.
        """
        ...

    def counter(self, name: str) -> accounting.Counter:
        """What tells how much a group has used."""
        ...

    def remove(self, name: str) -> bool:
        """Remove an empty group; False while something in it still has to die. Safe to call again."""
        ...

    def names(self) -> set[str]: ...

    def tear_down(self) -> None:
        """Remove the parent, once all groups are gone."""
        ...


def detect(instance: str, mounts: Path = MOUNTS) -> Cgroups:
    """The driver for this host. Raises OSError when neither version offers cpu, memory and pids."""
    if (mounts / "cgroup.controllers").exists():
        return Version2(mounts, f"berm-{instance}")
    missing = [name for name in Version1.CONTROLLERS if not (mounts / name).is_dir()]
    if missing:
        raise OSError(errno.ENOENT, f"no cgroup controller {', '.join(missing)} under {mounts}")
    return Version1(mounts, f"berm-{instance}")


class Version2:
    """The unified hierarchy (Documentation/admin-guide/cgroup-v2.rst of the kernel)."""

    def __init__(
        self, mount: Path, parent: str, controllers: tuple[str, ...] = ("cpu", "memory", "pids")
    ) -> None:
        self._root = mount / parent
        self._mount = mount
        self._controllers = controllers

    def set_up(self) -> None:
        self._root.mkdir(exist_ok=True)
        wanted = " ".join(f"+{name}" for name in self._controllers)
        for group in (self._mount, self._root) if wanted else ():
            _write(group / "cgroup.subtree_control", wanted)

    def make(self, name: str) -> None:
        (self._root / name).mkdir()

    def limit(self, name: str, limits: Limits) -> None:
        files = {
            "cpu": ("cpu.max", f"{limits.cpu_count * PERIOD_US} {PERIOD_US}"),
            "memory": ("memory.max", str(limits.memory_mb * _MIB)),
            "pids": ("pids.max", str(limits.pids)),
        }
        for controller in self._controllers:
            file, value = files[controller]
            _write(self._root / name / file, value)
        swap = self._root / name / "memory.swap.max"
        if swap.exists():
            _write(swap, "0")

    def clone_into(self, name: str, namespaces: int) -> int:
        fd = os.open(self._root / name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return syscalls.clone(namespaces, fd)
        finally:
            os.close(fd)

    def processes(self, name: str) -> list[int]:
        return _read_pids(self._root / name / "cgroup.procs")

    def freeze(self, name: str, frozen: bool) -> bool:
        _write(self._root / name / "cgroup.freeze", "1" if frozen else "0")
        return "frozen 1" in (self._root / name / "cgroup.events").read_text()

    def counter(self, name: str) -> accounting.Counter:
        return accounting.Version2(self._root / name)

    def remove(self, name: str) -> bool:
        return _remove_killing(self._root / name)

    def names(self) -> set[str]:
        return _children(self._root)

    def tear_down(self) -> None:
        _remove(self._root)


class Version1:
    """The separate hierarchies (Documentation/admin-guide/cgroup-v1 of the kernel)."""

    CONTROLLERS: Final = ("cpu", "memory", "pids", "freezer")

    def __init__(self, mounts: Path, parent: str) -> None:
        self._roots: Mapping[str, Path] = {
            name: mounts / name / parent for name in (*self.CONTROLLERS, *_own_accounting(mounts))
        }
        self._cpuacct = mounts / "cpuacct" / parent

    def set_up(self) -> None:
        for root in self._roots.values():
            root.mkdir(exist_ok=True)

    def make(self, name: str) -> None:
        for root in self._roots.values():
            (root / name).mkdir()

    def limit(self, name: str, limits: Limits) -> None:
        _write(self._roots["cpu"] / name / "cpu.cfs_quota_us", str(limits.cpu_count * PERIOD_US))
        _write(self._roots["memory"] / name / "memory.limit_in_bytes", str(limits.memory_mb * _MIB))
        _write(self._roots["pids"] / name / "pids.max", str(limits.pids))

    def clone_into(self, name: str, namespaces: int) -> int:
        pid = syscalls.clone(namespaces)
        if pid == 0:
            # A single thread that moves itself needs no lock on forks, and so no grace period of the kernel.
            try:
                for root in self._roots.values():
                    _write(root / name / "tasks", "0")
            except OSError:
                # In this process there is nobody to raise it to.
                traceback.print_exc()
                os._exit(1)
        return pid

    def processes(self, name: str) -> list[int]:
        return _read_pids(self._roots["pids"] / name / "cgroup.procs")

    def freeze(self, name: str, frozen: bool) -> bool:
        state = self._roots["freezer"] / name / "freezer.state"
        _write(state, "FROZEN" if frozen else "THAWED")
        return state.read_text().strip() == "FROZEN"

    def counter(self, name: str) -> accounting.Counter:
        cpuacct = self._cpuacct / name if self._cpuacct.parent.is_dir() else None
        return accounting.Version1(self._roots["memory"] / name, cpuacct)

    def remove(self, name: str) -> bool:
        removed = [_remove_killing(root / name) for root in self._roots.values()]
        return all(removed)

    def names(self) -> set[str]:
        return set().union(*(_children(root) for root in self._roots.values()))

    def tear_down(self) -> None:
        for root in self._roots.values():
            _remove(root)


def _own_accounting(mounts: Path) -> tuple[str, ...]:
    """`cpuacct` where it is a hierarchy of its own: most hosts mount it together with `cpu`."""
    accounting_root = mounts / "cpuacct"
    shared = not accounting_root.is_dir() or accounting_root.samefile(mounts / "cpu")
    return () if shared else ("cpuacct",)


def init_process(pids: list[int], status: Callable[[int], str] | None = None) -> int | None:
    """Which of a sandbox's processes is process 1 inside it (NSpid of proc(5)); None if it is gone."""
    read = status or _status
    return next((pid for pid in pids if _inner_pid(read(pid)) == 1), None)


def _inner_pid(status: str) -> int | None:
    ids = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
    return int(ids[-1]) if len(ids) > 1 else None


def _status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _children(root: Path) -> set[str]:
    try:
        return {entry.name for entry in os.scandir(root) if entry.is_dir()}
    except FileNotFoundError:
        return set()


def _read_pids(path: Path) -> list[int]:
    try:
        return [int(line) for line in path.read_text().split()]
    except (FileNotFoundError, OSError):
        return []


def _remove_killing(group: Path) -> bool:
    if _remove(group):
        return True
    for pid in _read_pids(group / "cgroup.procs"):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return _remove(group)


def _remove(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError as failure:
        if failure.errno != errno.EBUSY:
            raise
        return False
    return True


def _write(path: Path, value: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    except OSError as failure:
        raise OSError(failure.errno, f"write {value!r} to {path}: {failure.strerror}") from None
    finally:
        os.close(fd)
