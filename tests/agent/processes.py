"""What the kernel tells of processes."""

import os
import select
import time


def gone(pid: int) -> bool:
    """Wait for the end of a process that is about to end."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    ended = bool(poll.poll(30_000))
    os.close(fd)
    return ended


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def private_memory(pid: int) -> int:
    """Bytes of memory the process shares with no other."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return sum(int(line.split()[1]) << 10 for line in file if line.startswith("Private_"))


def wait_until_blocked(pid: int) -> None:
    """Until a process that writes as fast as it can writes no more."""
    written = 0
    while written != (now := _bytes_written(pid)) or not now:
        written = now
        time.sleep(0.1)


def _bytes_written(pid: int) -> int:
    with open(f"/proc/{pid}/io") as file:
        return int(dict(line.split(": ") for line in file)["wchar"])
