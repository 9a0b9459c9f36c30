"""A terminal with a program on it, seen from the person's side."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager


class Screen:
    """Runs a program on a terminal of its own; `close` it."""

    def __init__(
        self, command: Sequence[str], environ: Mapping[str, str], columns: int = 80, rows: int = 24
    ) -> None:
        self.master, slave = pty.openpty()
        self.resize(columns, rows)
        self.before = self.mode()
        self.seen = b""
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command], stdin=slave, stdout=slave, stderr=slave, env=environ
        )
        os.close(slave)

    def mode(self) -> list[object]:
        return list(termios.tcgetattr(self.master))

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def read(self) -> None:
        self.seen += os.read(self.master, 4096)

    def until(self, text: bytes) -> None:
        """Read what is shown up to and with `text`."""
        while text not in self.seen:
            self.read()
        self.seen = self.seen.partition(text)[2]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


WATCH_SIZE = b"""bash -c 'sleep 1000 & trap "stty size; kill $!; exit" WINCH; echo re""ady; wait'\r"""
"""Shows `ready`, and then the terminal's size once that has changed."""


@contextmanager
def shell(command: Sequence[str], environ: Mapping[str, str]) -> Iterator[Screen]:
    """A command that opens a shell, from its prompt on."""
    screen = Screen(command, environ)
    screen.read()
    yield screen
    screen.close()


def resize_and_leave(screen: Screen) -> None:
    """A shell is told the terminal's new size, and the command ends as its shell does and leaves no trace."""
    screen.type(WATCH_SIZE)
    screen.until(b"ready\r\n")
    screen.resize(100, 40)
    screen.until(b"40 100\r\n")
    screen.type(b"exit 5\r")
    assert screen.process.wait() == 5
    assert screen.mode() == screen.before
