"""System calls that Python lacks, each under its man page's name. A failure is an OSError naming the call."""

import ctypes
import errno
import os
import platform
import signal
from typing import Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000
CLONE_INTO_CGROUP: Final = 0x200000000

MS_RDONLY: Final = 0x1
MS_NOSUID: Final = 0x2
MS_NODEV: Final = 0x4
MS_NOEXEC: Final = 0x8
MS_REMOUNT: Final = 0x20
MS_BIND: Final = 0x1000
MS_MOVE: Final = 0x2000
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 0x40000
MNT_DETACH: Final = 0x2

OPEN_TREE_CLONE: Final = 0x1
OPEN_TREE_CLOEXEC: Final = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH: Final = 0x4
MOVE_MOUNT_T_EMPTY_PATH: Final = 0x40
MOUNT_ATTR_RDONLY: Final = 0x1
MOUNT_ATTR_NOSUID: Final = 0x2
MOUNT_ATTR_NODEV: Final = 0x4
MOUNT_ATTR_IDMAP: Final = 0x100000
RESOLVE_NO_XDEV: Final = 0x1
RESOLVE_NO_MAGICLINKS: Final = 0x2
RESOLVE_IN_ROOT: Final = 0x10
AT_SYMLINK_NOFOLLOW: Final = 0x100
AT_EMPTY_PATH: Final = 0x1000
FALLOC_FL_KEEP_SIZE: Final = 0x1
FALLOC_FL_PUNCH_HOLE: Final = 0x2
AT_FDCWD: Final = -100

PR_CAPBSET_DROP: Final = 24
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NAME: Final = 15
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
SECCOMP_SET_MODE_FILTER: Final = 1
KEYCTL_JOIN_SESSION_KEYRING: Final = 1
CAPABILITY_VERSION_3: Final = 0x20080522

# Numbers at and above 424 are the same on every architecture; the two below it are not.
_SECCOMP, _KEYCTL = {"x86_64": (317, 250), "aarch64": (277, 219)}.get(platform.machine(), (-1, -1))
_OPEN_TREE, _MOVE_MOUNT, _CLONE3, _OPENAT2, _MOUNT_SETATTR = 428, 429, 435, 437, 442


class MountAttr(ctypes.Structure):
    """`struct mount_attr` of mount_setattr(2)."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


class OpenHow(ctypes.Structure):
    """`struct open_how` of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class CloneArgs(ctypes.Structure):
    """`struct clone_args` of clone(2), as long as CLONE_INTO_CGROUP needs it."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            "flags",
            "pidfd",
            "child_tid",
            "parent_tid",
            "exit_signal",
            "stack",
            "stack_size",
            "tls",
            "set_tid",
            "set_tid_size",
            "cgroup",
        )
    )


class SockFprog(ctypes.Structure):
    """`struct sock_fprog` of seccomp(2): a BPF program and the count of its 8-byte instructions."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


class CapHeader(ctypes.Structure):
    """`struct __user_cap_header_struct` of capset(2)."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class CapData(ctypes.Structure):
    """`struct __user_cap_data_struct` of capset(2)."""

    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.pivot_root.argtypes = (ctypes.c_char_p, ctypes.c_char_p)
_libc.setns.argtypes = (ctypes.c_int, ctypes.c_int)
_libc.unshare.argtypes = (ctypes.c_int,)
_libc.sethostname.argtypes = (ctypes.c_char_p, ctypes.c_size_t)
_libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
_libc.capset.argtypes = (ctypes.POINTER(CapHeader), ctypes.POINTER(CapData))
_libc.syscall.restype = ctypes.c_long
# clone3 must not release the interpreter's lock between the two sides of the fork.
_clone_libc = ctypes.PyDLL(None, use_errno=True)
_clone_libc.syscall.restype = ctypes.c_long


def _check(result: int, call: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{call}: {os.strerror(code)}")
    return result


def unshare(flags: int) -> None:
    """unshare(2)."""
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    """setns(2)."""
    _check(_libc.setns(fd, kind), "setns")


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """mount(2)."""
    encoded = [value.encode() if value is not None else None for value in (source, target, kind, data)]
    _check(_libc.mount(*encoded[:3], flags, encoded[3]), f"mount {kind or source} on {target}")


def punch_hole(fd: int, offset: int, length: int) -> None:
    """Give back the room of a part of a file, which then reads as zeros; its size stays: fallocate(2)."""
    if length:
        _check(_libc.fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, offset, length), "fallocate")


def umount2(target: str, flags: int) -> None:
    """umount2(2)."""
    _check(_libc.umount2(target.encode(), flags), f"umount2 {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)."""
    _check(_libc.pivot_root(new_root.encode(), put_old.encode()), "pivot_root")


def sethostname(name: str) -> None:
    """sethostname(2)."""
    _check(_libc.sethostname(name.encode(), len(name.encode())), "sethostname")


def open_tree(path: str, directory: int = AT_FDCWD) -> int:
    """open_tree(2) with OPEN_TREE_CLONE: a detached copy of the mount at `path`, as a descriptor.

    A link at its end is not followed; an empty path stands for `directory` itself.
    """
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW | (0 if path else AT_EMPTY_PATH)
    return _check(_libc.syscall(_OPEN_TREE, directory, path.encode(), flags), f"open_tree {path}")


def move_mount(tree: int, target: str, directory: int = AT_FDCWD) -> None:
    """move_mount(2): attach a detached mount at `target`, or at `directory` itself where that is empty."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | (0 if target else MOVE_MOUNT_T_EMPTY_PATH)
    _check(
        _libc.syscall(_MOVE_MOUNT, tree, b"", directory, target.encode(), flags),
        f"move_mount to {target}",
    )


def openat2(directory: int, path: str, flags: int, resolve: int) -> int:
    """openat2(2)."""
    how = OpenHow(flags=flags, resolve=resolve)
    call = _libc.syscall(_OPENAT2, directory, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
    return _check(call, f"openat2 {path}")


def mount_setattr(tree: int, attributes: MountAttr) -> None:
    """mount_setattr(2) on a detached mount."""
    size = ctypes.sizeof(attributes)
    _check(
        _libc.syscall(_MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH, ctypes.byref(attributes), size),
        "mount_setattr",
    )


def prctl(option: int, argument: int = 0) -> None:
    """prctl(2)."""
    _check(_libc.prctl(option, argument, 0, 0, 0), f"prctl {option}")


def set_process_name(name: str) -> None:
    """PR_SET_NAME of prctl(2); at most 15 bytes show."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    prctl(PR_SET_NAME, ctypes.addressof(buffer))


def capset(capabilities: int) -> None:
    """capset(2): make `capabilities` (a bit mask) the permitted and effective set; nothing is inheritable."""
    header = CapHeader(CAPABILITY_VERSION_3, 0)
    words = [capabilities & 0xFFFFFFFF, capabilities >> 32]
    data = (CapData * 2)(*(CapData(word, word, 0) for word in words))
    _check(_libc.capset(ctypes.byref(header), data), "capset")


def seccomp(program: bytes) -> None:
    """seccomp(2): install a BPF filter on the calling thread for ever."""
    fprog = SockFprog(len(program) // 8, program)
    _check(_libc.syscall(_SECCOMP, SECCOMP_SET_MODE_FILTER, 0, ctypes.byref(fprog)), "seccomp")


def join_new_session_keyring() -> None:
    """keyctl(2): leave the launcher's session keyring; kernels without keyrings have none to leave."""
    if _libc.syscall(_KEYCTL, KEYCTL_JOIN_SESSION_KEYRING, None) < 0 and ctypes.get_errno() != errno.ENOSYS:
        _check(-1, "keyctl")


def clone(namespaces: int, cgroup: int | None = None) -> int:
    """fork(2) whose child has new namespaces and, if given a version 2 cgroup's descriptor, starts in that.

    clone3 of clone(2). Entering namespaces afterwards takes a second fork for the pid namespace; moving
    into a cgroup afterwards waits for a grace period of the kernel, some milliseconds.
    """
    into = CLONE_INTO_CGROUP if cgroup is not None else 0
    arguments = CloneArgs(flags=namespaces | into, exit_signal=signal.SIGCHLD, cgroup=cgroup or 0)
    api = ctypes.pythonapi
    api.PyOS_BeforeFork()
    pid = int(_clone_libc.syscall(_CLONE3, ctypes.byref(arguments), ctypes.sizeof(arguments)))
    if pid == 0:
        api.PyOS_AfterFork_Child()
        return 0
    failure = ctypes.get_errno()
    api.PyOS_AfterFork_Parent()
    ctypes.set_errno(failure)
    return _check(pid, "clone3")
