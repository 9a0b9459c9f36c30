"""The root file system of a sandbox: an overlay over template layers, its own /proc, /dev and /sys."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from berm.launcher import spec, syscalls
from berm.launcher.syscalls import (
    MS_BIND,
    MS_MOVE,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
)

STAGE: Final = "/mnt"
"""Where the first root is put together: a small one, in which a process waits for its spec."""
ROOT: Final = "/root"
"""Where the sandbox's own root is put together, inside the first."""

_SHM: Final = "dev/shm"
_PAGES_IN_MIB: Final = 256
_KERNEL: Final = tuple(path.strip("/") for path in spec.KERNEL)
_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")
_DEV_LINKS: Final = {
    "ptmx": "pts/ptmx",
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}
_HIDDEN: Final = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/kernel/debug",
    "/sys/kernel/security",
    "/sys/kernel/tracing",
)
_READ_ONLY: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_GUARDED: Final = MS_NOSUID | MS_NODEV | MS_NOEXEC
_RANDOM: Final = "/proc/sys/kernel/random"


def prepare() -> None:
    """Mount all that is the same for every sandbox, ahead of time, and leave the host's file systems.

    Runs as root of the sandbox's user namespace in a mount namespace it owns. A process that waits keeps
    no mount of the host's in use: only what is mounted here is left.
    """
    syscalls.mount("none", "/", None, MS_REC | MS_PRIVATE)
    syscalls.mount("tmpfs", STAGE, "tmpfs", MS_NOSUID | MS_NODEV, "size=64k,mode=711")
    for name in (*_KERNEL, "rw", "root"):
        Path(STAGE, name).mkdir()
    syscalls.mount("proc", f"{STAGE}/proc", "proc", _GUARDED)
    syscalls.mount("sysfs", f"{STAGE}/sys", "sysfs", _GUARDED | MS_RDONLY)
    _prepare_dev(f"{STAGE}/dev")
    _guard()
    _give_boot_id()
    _change_root(STAGE)


def _prepare_dev(dev: str) -> None:
    syscalls.mount("tmpfs", dev, "tmpfs", MS_NOSUID | MS_NOEXEC, "size=64k,mode=755")
    for name in _DEVICES:
        target = f"{dev}/{name}"
        Path(target).touch()
        syscalls.mount(f"/dev/{name}", target, None, MS_BIND)
    for name, target in _DEV_LINKS.items():
        Path(dev, name).symlink_to(target)
    for name in ("pts", "shm", "mqueue"):
        Path(dev, name).mkdir()
    flags = MS_NOSUID | MS_NOEXEC
    syscalls.mount("devpts", f"{dev}/pts", "devpts", flags, "newinstance,ptmxmode=0666,mode=620,gid=5")
    syscalls.mount("mqueue", f"{dev}/mqueue", "mqueue", _GUARDED)


def attach(trees: Sequence[int], writable: int) -> list[str]:
    """Attach detached trees in the first root, where nothing of the sandbox is yet; returns their paths."""
    names = [f"/{position}" for position in range(len(trees))]
    for target in names:
        Path(target).mkdir()
    for tree, target in zip((*trees, writable), (*names, "/rw"), strict=True):
        syscalls.move_mount(tree, target)
        os.close(tree)
    return names


def assemble(layers: Sequence[str], shm_mb: int) -> None:
    """Build the root at ROOT of layers (bottom first), the writable tree and what is prepared.

    The overlay is mounted with the sandbox's rights, so it never acts with the host's.
    """
    lower = ":".join(reversed(layers))
    options = f"lowerdir={lower},upperdir=/rw/upper,workdir=/rw/work,userxattr,volatile"
    # volatile: a sandbox does not outlive the machine, so nothing has to reach the disk for its sake. Without
    # it the end of each one writes out all that the whole pool has in memory.
    # nosuid stays off: a sandbox's set-user-ID programs only ever reach ids of its own range.
    syscalls.mount("overlay", ROOT, "overlay", MS_NODEV, options)
    for name in (*_KERNEL, "tmp"):
        _directory(f"{ROOT}/{name}")
    for name in _KERNEL:
        syscalls.mount(f"/{name}", f"{ROOT}/{name}", None, MS_MOVE)
    flags = MS_NOSUID | MS_NODEV
    # As many files as it has pages: an empty one has no size, and takes memory of the sandbox all the same.
    options = f"size={shm_mb}m,nr_inodes={shm_mb * _PAGES_IN_MIB},mode=1777"
    syscalls.mount("tmpfs", f"{ROOT}/{_SHM}", "tmpfs", flags, options)


def _give_boot_id() -> None:
    """Show a boot id of the sandbox's own (random(4)): it is as old as its processes."""
    own = Path(STAGE, "boot_id")
    own.write_text(Path(_RANDOM, "uuid").read_text())
    own.chmod(0o444)
    target = f"{STAGE}{_RANDOM}/boot_id"
    syscalls.mount(str(own), target, None, MS_BIND)
    syscalls.mount("none", target, None, MS_BIND | MS_REMOUNT | MS_RDONLY | _GUARDED)


def _guard() -> None:
    for path in _READ_ONLY:
        target = STAGE + path
        if Path(target).exists():
            syscalls.mount(target, target, None, MS_BIND | MS_REC)
            syscalls.mount("none", target, None, MS_BIND | MS_REMOUNT | MS_RDONLY | _GUARDED)
    for path in _HIDDEN:
        _hide(STAGE + path)


def _hide(target: str) -> None:
    try:
        mode = Path(target).lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        syscalls.mount("tmpfs", target, "tmpfs", _GUARDED | MS_RDONLY, "size=0,mode=755")
    else:
        syscalls.mount("/dev/null", target, None, MS_BIND)


def _directory(path: str) -> None:
    """Make sure that `path`, just below the new root, is a directory and not a link that leads elsewhere."""
    try:
        mode = Path(path).lstat().st_mode
    except FileNotFoundError:
        Path(path).mkdir()
        return
    if not stat.S_ISDIR(mode):
        Path(path).unlink()
        Path(path).mkdir()


def enter() -> None:
    """Make the sandbox's own root the root."""
    _change_root(ROOT)


def _change_root(path: str) -> None:
    """pivot_root(2), as its notes say: "." twice, then let go of the old root."""
    os.chdir(path)
    syscalls.pivot_root(".", ".")
    syscalls.umount2(".", syscalls.MNT_DETACH)
    os.chdir("/")


def write_files(files: dict[str, str]) -> None:
    """Write small files under /etc of the sandbox, from inside it; what is already so is left alone."""
    _directory("/etc")
    for name, content in files.items():
        path = f"/etc/{name}"
        if _content(path) != content:
            _replace(path, content)


def _content(path: str) -> str | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with open(fd, encoding="utf-8", errors="replace") as file:
        return file.read(4096)


def _replace(path: str, content: str) -> None:
    fresh = f"{path}.berm"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(content)
    Path(fresh).rename(path)
