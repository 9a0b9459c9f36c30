"""Every option of pty.create, connect, resize, send_stdin and kill, by both halves of the SDK."""

import hashlib
import time
from collections.abc import Callable
from typing import Any

import pytest
from e2b import CommandExitException, InvalidArgumentException, PtySize, Sandbox, TimeoutException

from tests.sdk.attempts import all_raise
from tests.sdk.halves import Blocking, shown_to

SIZE = PtySize(rows=24, cols=80)


def watch(terminal: Any, take: Callable[[bytes], object]) -> int:
    """Wait for the end of a terminal; returns its exit code."""
    told = {} if isinstance(terminal, Blocking) else {"on_pty": take}
    try:
        return int(terminal.wait(**told).exit_code)
    except CommandExitException as end:
        return int(end.exit_code)


def test_every_option(either: Any) -> None:
    shown = bytearray()
    terminal = either.pty.create(
        size=PtySize(rows=30, cols=90),
        user="root",
        cwd="/usr/lib",
        envs={"MINE": "yes", "LANG": "C"},
        timeout=60,
        request_timeout=30,
        **shown_to(either, shown.extend),
    )
    line = b"echo it:$(id -un):$PWD:$MINE:$LANG:$TERM:$(stty size):$(tty | cut -c1-8); exit 7\n"
    either.pty.send_stdin(terminal.pid, line, request_timeout=30)
    assert watch(terminal, shown.extend) == 7
    assert b"it:root:/usr/lib:yes:C:xterm-256color:30 90:/dev/pts\r\n" in shown


def test_no_size_is_the_usual_one(either: Any) -> None:
    """What the terminals of clients say that nobody has given one, such as those of CI."""
    shown = bytearray()
    terminal = either.pty.create(size=PtySize(rows=0, cols=0), **shown_to(either, shown.extend))
    either.pty.resize(terminal.pid, PtySize(rows=0, cols=100))
    either.pty.send_stdin(terminal.pid, b"echo size $(stty size); exit\n")
    assert watch(terminal, shown.extend) == 0
    assert b"size 24 100\r\n" in shown


def test_what_a_terminal_does_with_bytes(either: Any) -> None:
    """No echo, then every byte that the line discipline leaves alone, each way."""
    shown = bytearray()
    terminal = either.pty.create(size=SIZE, **shown_to(either, shown.extend))
    data = bytes(range(128, 256)) * 8
    either.pty.send_stdin(terminal.pid, b"stty raw -echo; head -c 1024 | sha256sum | cut -c1-64; exit\n")
    either.commands.run("until pgrep --exact head; do :; done")
    either.pty.send_stdin(terminal.pid, data)
    assert watch(terminal, shown.extend) == 0
    assert hashlib.sha256(data).hexdigest().encode() in shown


def test_two_screens_and_one_that_leaves(either: Any) -> None:
    first, second = bytearray(), bytearray()
    terminal = either.pty.create(size=SIZE, timeout=0, **shown_to(either, first.extend))
    again = either.pty.connect(terminal.pid, timeout=0, request_timeout=30, **shown_to(either, second.extend))
    either.pty.resize(terminal.pid, PtySize(rows=40, cols=100), request_timeout=30)
    terminal.disconnect()
    either.pty.send_stdin(terminal.pid, b"echo size $(stty size); exit 3\n")
    assert watch(again, second.extend) == 3
    assert b"size 40 100\r\n" in second
    assert b"size 40 100\r\n" not in first


def test_its_time(either: Any) -> None:
    terminal = either.pty.create(size=SIZE, timeout=0.5, **shown_to(either))
    with pytest.raises(TimeoutException):
        terminal.wait()
    while either.commands.list():
        time.sleep(0.01)


def test_what_cannot_be_opened(either: Any) -> None:
    def opened(**options: Any) -> Callable[[], object]:
        return lambda: either.pty.create(**({"size": SIZE} | shown_to(either) | options))

    all_raise(
        InvalidArgumentException,
        "does not exist|columns and .* rows is not possible",
        opened(cwd="/missing"),
        opened(size=PtySize(rows=70_000, cols=80)),
        opened(size=PtySize(rows=24, cols=70_000)),
    )
    terminal = opened()()
    all_raise(
        InvalidArgumentException,
        "not possible",
        lambda: either.pty.resize(terminal.pid, PtySize(rows=24, cols=70_000)),  # type: ignore[attr-defined]
    )


def test_a_megabyte_on_the_screen(sandbox: Sandbox) -> None:
    terminal = sandbox.pty.create(SIZE)
    sandbox.pty.send_stdin(terminal.pid, b"stty -echo; PS1=; seq 150000; exit\n")
    shown = b"".join(data or b"" for _, _, data in terminal)
    assert b"".join(b"%d\r\n" % n for n in range(1, 150_001)) in shown
