"""What root of a sandbox may do inside it, and the limits every process starts with."""

import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

from berm.launcher import syscalls

# Bits of capabilities(7).
_KEPT: Final = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "FOWNER": 3,
    "FSETID": 4,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "SETPCAP": 8,
    "NET_BIND_SERVICE": 10,
    "NET_RAW": 13,
    "SYS_CHROOT": 18,
    "MKNOD": 27,
    "AUDIT_WRITE": 29,
    "SETFCAP": 31,
}
KEPT_MASK: Final = sum(1 << bit for bit in _KEPT.values())

_LIMITS: Final = {
    # One byte, not none: 0 would still start a program of the host's that core_pattern names (core(5)).
    resource.RLIMIT_CORE: (1, 1),
    resource.RLIMIT_NOFILE: (65536, 1048576),
    resource.RLIMIT_MEMLOCK: (64 << 20, 64 << 20),
    resource.RLIMIT_STACK: (8 << 20, resource.RLIM_INFINITY),
    resource.RLIMIT_NPROC: (resource.RLIM_INFINITY, resource.RLIM_INFINITY),
}

_FIRST: Final = -20
"""The nice value that weighs most. A command takes 0.3 ms longer for it; with -10 a bomb was at times unheard
for two minutes."""


def last_capability() -> int:
    """The highest capability the kernel knows; read before the root is changed."""
    return int(Path("/proc/sys/kernel/cap_last_cap").read_text())


def limit() -> None:
    """Set the resource limits (getrlimit(2)) that children inherit, as far as the hard limits reach."""
    for kind, wanted in _LIMITS.items():
        ceiling = resource.getrlimit(kind)[1]
        soft, hard = (_lower(value, ceiling) for value in wanted)
        resource.setrlimit(kind, (soft, hard))


def _lower(value: int, ceiling: int) -> int:
    finite = [limit for limit in (value, ceiling) if limit != resource.RLIM_INFINITY]
    return min(finite, default=resource.RLIM_INFINITY)


def put_first(pid: int) -> None:
    """Let a process run before all others of its control group, as far as the host's root may say so.

    That is a sandbox's agent: beside a fork bomb of equals it would not hear of anything for minutes.
    """
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, pid, _FIRST)


def keep_priority() -> None:
    """Have every child start with the usual priority, whatever this process has (sched(7))."""
    os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))


def bound(last: int) -> None:
    """Give up for all children, for ever, every capability up to `last` that is not kept."""
    syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
    for bit in range(last + 1):
        if not KEPT_MASK >> bit & 1:
            syscalls.prctl(syscalls.PR_CAPBSET_DROP, bit)


def drop(program: bytes) -> None:
    """Give up for ever, here and now, what is not kept and every system call that `program` refuses."""
    # Installing a filter without no_new_privs, which would break sudo, takes CAP_SYS_ADMIN: so before capset.
    syscalls.seccomp(program)
    syscalls.capset(KEPT_MASK)
