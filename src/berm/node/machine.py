"""What this machine is and how busy it is, from /proc."""

import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from berm.models import Disk, HugePages, Machine, MachineLoad

_KIB: Final = 1 << 10
_SETTLED: Final = 0.5
"""Seconds over which a share of processor time says something."""


class Gauge:
    """Reads the machine; how busy its processors were is told for the time since the reading before."""

    def __init__(self, disks: tuple[Path, ...], proc: Path = Path("/proc")) -> None:
        self._disks = disks
        self._proc = proc
        self._before = self._ticks()
        self._at = time.monotonic()
        self._percent = 0.0

    def read(self) -> MachineLoad:
        """Raises OSError where there is no /proc."""
        memory = _fields((self._proc / "meminfo").read_text())
        total = memory["MemTotal"] * _KIB
        return MachineLoad(
            cpu_count=os.cpu_count() or 1,
            cpu_percent=self._busy(),
            memory_total=total,
            memory_used=total - memory["MemAvailable"] * _KIB,
            huge_pages=HugePages(
                total=memory.get("HugePages_Total", 0),
                used=memory.get("HugePages_Total", 0) - memory.get("HugePages_Free", 0),
                reserved=memory.get("HugePages_Rsvd", 0),
                size=memory.get("Hugepagesize", 0) * _KIB,
            ),
            disks=tuple(self._measured(_mounts((self._proc / "self/mounts").read_text()))),
        )

    def machine(self) -> Machine:
        words = (self._proc / "cpuinfo").read_text().partition("\n\n")[0].splitlines()
        known = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in words)}
        return Machine(
            cpu_family=known.get("cpu family", ""),
            cpu_model=known.get("model", ""),
            cpu_model_name=known.get("model name", ""),
            cpu_architecture=platform.machine(),
        )

    def _busy(self) -> float:
        if time.monotonic() - self._at >= _SETTLED or not self._percent:
            now, before = self._ticks(), self._before
            spent = sum(now) - sum(before)
            # Fields 4 and 5 of proc_stat(5): idle, and idle while something waits for a disk.
            idle = sum(now[3:5]) - sum(before[3:5])
            self._percent = min(max(100 * (spent - idle) / spent, 0.0), 100.0) if spent > 0 else 0.0
            self._before, self._at = now, time.monotonic()
        return self._percent

    def _ticks(self) -> list[int]:
        # The last two, of guests, are in the first two as well.
        return [int(word) for word in (self._proc / "stat").read_text().split("\n", 1)[0].split()[1:9]]

    def _measured(self, mounts: dict[str, tuple[str, str]]) -> Iterator[Disk]:
        """The file systems that the directories lie on, each once."""
        for mount in dict.fromkeys(_mount_of(path.resolve(), mounts) for path in self._disks):
            device, kind = mounts[mount]
            size = os.statvfs(mount)
            used = (size.f_blocks - size.f_bfree) * size.f_frsize
            yield Disk(mount, device, kind, used, size.f_blocks * size.f_frsize)


def _fields(text: str) -> dict[str, int]:
    pairs = (line.split(":") for line in text.splitlines())
    return {name: int(value.split()[0]) for name, value in pairs}


def _mounts(text: str) -> dict[str, tuple[str, str]]:
    """Device and type by mount point; of several on one point the last, which is on top."""
    rows = (line.split(" ") for line in text.splitlines())
    return {_unescape(row[1]): (_unescape(row[0]), row[2]) for row in rows}


def _unescape(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def _mount_of(path: Path, mounts: dict[str, tuple[str, str]]) -> str:
    return next(str(parent) for parent in (path, *path.parents) if str(parent) in mounts)
