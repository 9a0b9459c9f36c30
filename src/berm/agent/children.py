"""Starting commands, and reaping every child of PID 1."""

import asyncio
import fcntl
import os
import signal
import struct
import subprocess
import termios
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from berm.agent.events import Stream
from berm.agent.users import User

_REAP_BATCH = 256
_STDERR = 2
_TERMINAL_SIZE = struct.Struct("HHHH")


@dataclass(frozen=True)
class Command:
    """What to run; `size` (columns, rows) asks for a terminal, `stdin` for a standard input to write to."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    user: User
    stdin: bool = True
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Child:
    """A started command: the descriptors it is written to by, and read from by name of output."""

    pid: int
    input: int | None
    outputs: Mapping[int, Stream]


class Reaper:
    """Waits for every child, those it started and the orphans it inherited, and tells who asked."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._started: dict[int, Callable[[int], None]] = {}
        loop.add_signal_handler(signal.SIGCHLD, self._reap)

    def on_exit(self, pid: int, callback: Callable[[int], None]) -> None:
        """Call `callback` with the wait status once the child `pid` has ended."""
        self._started[pid] = callback

    def _reap(self) -> None:
        for _ in range(_REAP_BATCH):
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self._started.pop(pid, _ignore)(status)
        self._loop.call_soon(self._reap)


def _ignore(_status: int) -> None:
    pass


def spawn(command: Command) -> Child:
    """Start a command in a session of its own. Raises OSError, leaving nothing behind."""
    with ExitStack() as on_failure, ExitStack() as ours_only:
        open_ends = _terminal if command.size else _pipes
        child_ends, outputs, stdin = open_ends(command, on_failure, ours_only)
        pid = _start(command, child_ends)
        on_failure.pop_all()
        return Child(pid, stdin, outputs)


Ends = tuple[tuple[int, int, int], dict[int, Stream], int | None]


def _pipes(command: Command, ours: ExitStack, theirs: ExitStack) -> Ends:
    out, child_out = _pipe(ours, theirs)
    err, child_err = _pipe(ours, theirs)
    child_in, stdin = _pipe(theirs, ours) if command.stdin else (_nothing(theirs), None)
    return (child_in, child_out, child_err), {out: "stdout", err: "stderr"}, stdin


def _nothing(theirs: ExitStack) -> int:
    return _keep(os.open(os.devnull, os.O_RDONLY), theirs)


def _pipe(read: ExitStack, write: ExitStack) -> tuple[int, int]:
    reader, writer = os.pipe()
    return _keep(reader, read), _keep(writer, write)


def _keep(fd: int, stack: ExitStack) -> int:
    stack.callback(os.close, fd)
    return fd


def _terminal(command: Command, ours: ExitStack, theirs: ExitStack) -> Ends:
    master, slave = os.openpty()
    _keep(master, ours)
    _keep(slave, theirs)
    os.fchown(slave, command.user.uid, -1)
    resize(master, command.size or (80, 24))
    # A second descriptor: the event loop watches reading and writing apart, and each is closed apart.
    return (slave, slave, slave), {master: "pty"}, _keep(os.dup(master), ours)


def resize(terminal: int, size: tuple[int, int]) -> None:
    """Set a terminal's columns and rows. Raises OSError."""
    columns, rows = size
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, _TERMINAL_SIZE.pack(rows, columns, 0, 0))


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _start(command: Command, ends: tuple[int, int, int]) -> int:
    stdin, stdout, stderr = ends
    with _acting_as(command.user):
        process = subprocess.Popen(
            command.argv,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=command.cwd,
            env=command.env,
            close_fds=False,  # all are close-on-exec: keep_descriptors
            start_new_session=True,
            preexec_fn=_take_terminal if command.size else None,  # noqa: PLW1509 - there is one thread
        )
    # The Reaper waits for it; this object must not.
    process.returncode = 0
    return process.pid


@contextmanager
def _acting_as(user: User) -> Iterator[None]:
    """Be the user while a command is started: a child made by vfork cannot change its user itself.

    The saved id is what leads back; execve(2) takes it from the command. Having changed its effective
    user the process is not dumpable, so the user can neither trace it nor the child that shares its
    memory. The user could send it a signal in these moments, and none that does anything reaches PID 1.
    """
    groups = os.getgroups()
    try:
        os.setgroups([user.gid, *user.groups])
        os.setresgid(user.gid, user.gid, 0)
        os.setresuid(user.uid, user.uid, 0)
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        os.setgroups(groups)


def keep_descriptors() -> None:
    """Keep what this process has open from every command."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > _STDERR:
            with suppress(OSError):  # the one that read the directory
                os.set_inheritable(int(name), False)
