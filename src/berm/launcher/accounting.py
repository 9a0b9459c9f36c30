"""What the kernel has counted of a sandbox: files of its control group, in either version, and of its quota.

Read every few seconds for every sandbox, so paths are joined once and only what is wanted is parsed.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

_NANOSECONDS: Final = 1e9
_MICROSECONDS: Final = 1e6
_LONGEST: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class Counts:
    """Of all processes of a group, those that have ended as well."""

    cpu_seconds: float
    memory: int
    """Bytes that cannot be taken back without ending something."""
    cache: int
    """Bytes of files that the kernel keeps in memory as long as there is room."""


class Counter(Protocol):
    """The counters of one group."""

    def read(self) -> Counts:
        """Raises OSError when there is no such group."""
        ...


class Version2:
    def __init__(self, group: Path) -> None:
        self._cpu = str(group / "cpu.stat")
        self._usage = str(group / "memory.current")
        self._stat = str(group / "memory.stat")

    def read(self) -> Counts:
        cpu = _field(_read(self._cpu), b"usage_usec") / _MICROSECONDS
        stat = _read(self._stat)
        return _counts(cpu, int(_read(self._usage)), _field(stat, b"file"), _field(stat, b"shmem"))


class Version1:
    """`cpuacct` is None where the host has no such controller; then no processor time is counted."""

    def __init__(self, memory: Path, cpuacct: Path | None) -> None:
        self._usage = str(memory / "memory.usage_in_bytes")
        self._stat = str(memory / "memory.stat")
        self._cpu = str(cpuacct / "cpuacct.usage") if cpuacct else None

    def read(self) -> Counts:
        usage, stat = int(_read(self._usage)), _read(self._stat)
        return _counts(self._seconds(), usage, _field(stat, b"total_cache"), _field(stat, b"total_shmem"))

    def _seconds(self) -> float:
        try:
            return int(_read(self._cpu)) / _NANOSECONDS if self._cpu else 0.0
        except FileNotFoundError:
            # Sandboxes from before these groups were made have none; without the others they are gone.
            return 0.0


class Quota:
    """What a btrfs quota group holds, by the directory in which the kernel shows it."""

    def __init__(self, group: Path) -> None:
        self._files = [str(group / name) for name in ("exclusive", "rsv_data")]

    def read(self) -> int:
        """Bytes, with those that are not on the disk yet. Raises OSError when there is no such group."""
        return sum(int(_read(file)) for file in self._files)


def _counts(cpu_seconds: float, usage: int, files: int, shared: int) -> Counts:
    # Files of a tmpfs count as cache, but without swap nothing takes them back.
    cache = min(max(files - shared, 0), usage)
    return Counts(cpu_seconds, usage - cache, cache)


def _field(text: bytes, name: bytes) -> int:
    # A line begins with the name, the first without a line break before it.
    _, _, rest = (b"\n" + text).partition(b"\n" + name + b" ")
    return int(rest.partition(b"\n")[0])


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _LONGEST)
    finally:
        os.close(fd)
