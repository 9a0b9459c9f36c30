"""What sandboxes use, as the host's kernel counts it: a sandbox has no say in it."""

import time
from dataclasses import dataclass
from pathlib import Path

from berm.launcher import accounting, btrfs, cgroup
from berm.models import Usage


@dataclass(frozen=True, slots=True)
class Meter:
    """Where the numbers of one sandbox are, from its start to its end."""

    counter: accounting.Counter
    quota: accounting.Quota | None
    """None where nothing counts what it writes."""

    @classmethod
    def find(cls, directory: Path, instance: str) -> "Meter":
        """The meter of the sandbox whose storage is `directory`. Raises OSError if it has ended."""
        group = btrfs.quota_group(directory)
        counter = cgroup.detect(instance).counter((directory / "slot").read_text())
        return cls(counter, accounting.Quota(group) if group else None)

    def read(self) -> Usage:
        """Reads some files of the kernel. Raises OSError or ValueError if it ends meanwhile."""
        counts = self.counter.read()
        held = self.quota.read() if self.quota else 0
        return Usage(time.time(), counts.cpu_seconds, counts.memory, counts.cache, held)
