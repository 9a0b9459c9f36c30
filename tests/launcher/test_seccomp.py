"""The filter is judged by what the kernel answers to a process that runs under it."""

import ctypes
import errno
import os
import platform
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from berm.launcher import seccomp, syscalls

pytestmark = pytest.mark.root


_IOCTL = {"x86_64": 16, "aarch64": 29}[platform.machine()]


def answer(action: Callable[[], object]) -> int:
    """The errno that `action` ends with in a filtered child; 0 for success."""
    program = seccomp.compile_filter()
    pid = os.fork()
    if pid == 0:
        code = 255
        try:
            syscalls.seccomp(program)
            action()
            code = 0
        except OSError as failure:
            code = failure.errno or 254
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def call(number: int, *arguments: int) -> Callable[[], object]:
    libc = ctypes.CDLL(None, use_errno=True)

    def act() -> None:
        if libc.syscall(number, *arguments) < 0:
            raise OSError(ctypes.get_errno(), "syscall")

    return act


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (lambda: os.waitpid(os.fork() or os._exit(0), 0), 0),
        (lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM), 0),
        (lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW), 0),
        (lambda: Path("/tmp").stat(), 0),
        (lambda: syscalls.unshare(syscalls.CLONE_NEWUSER), errno.EPERM),
        (lambda: syscalls.mount("none", "/mnt", "tmpfs", 0), errno.EPERM),
        (lambda: syscalls.sethostname("x"), errno.EPERM),
        (lambda: syscalls.clone(0), errno.ENOSYS),
        (lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW), errno.ENOSYS),
        (lambda: socket.socket(40, socket.SOCK_STREAM), errno.ENOSYS),  # AF_VSOCK
        (call(425, 1, 0), errno.EPERM),  # io_uring_setup
        (call(9999), errno.ENOSYS),
    ],
    ids=[
        "fork",
        "inet socket",
        "netlink socket",
        "stat",
        "unshare",
        "mount",
        "sethostname",
        "clone3",
        "packet socket",
        "vsock socket",
        "io_uring",
        "unknown call",
    ],
)
def test_what_the_filter_answers(action: Callable[[], object], expected: int) -> None:
    assert answer(action) == expected


@pytest.mark.parametrize(
    "flag", [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000]
)
def test_clone_makes_no_namespace(flag: int) -> None:
    assert answer(call(56, flag | 17, 0, 0, 0, 0)) != 0


def test_requests_of_btrfs_are_refused_to_all_but_copies(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with (tmp_path / "a").open("r+") as file:
        fd = file.fileno()

        def ioctl(request: int) -> int:
            return answer(call(_IOCTL, fd, request, 0))

        for request in (0x5000_940E, 0x5000_9401, 0x5000_940F, 0x8030_942B, 0x9408):
            assert ioctl(request) == errno.ENOSYS
        for request in seccomp.CLONES:
            assert ioctl(request) not in (0, errno.ENOSYS)
        for kind in {bit ^ 0x94 for bit in map((1).__lshift__, range(8))} | {0, 0xFF, 0x54}:
            assert ioctl(kind << 8 | 0xFE) == errno.ENOTTY
