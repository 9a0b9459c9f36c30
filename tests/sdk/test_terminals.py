"""Terminals as the SDK opens them: a login shell, its size, its input, its end."""

import pytest
from e2b import AsyncSandbox, CommandExitException, CommandHandle, NotFoundException, PtySize, Sandbox

from tests.screen import WATCH_SIZE

SIZE = PtySize(rows=24, cols=80)


def until(terminal: CommandHandle, text: str) -> str:
    """Read what is shown up to and with `text`."""
    seen = ""
    for _, _, data in terminal:
        seen += (data or b"").decode()
        if text in seen:
            return seen
    raise AssertionError(f"the terminal ended after {seen!r}")


def test_a_shell_of_the_user(sandbox: Sandbox) -> None:
    terminal = sandbox.pty.create(SIZE)
    sandbox.pty.send_stdin(terminal.pid, b"echo it:$TERM:$LANG:$(id -un):$PWD:$(stty size)\n")
    until(terminal, "it:xterm-256color:C.UTF-8:user:/home/user:24 80")
    assert terminal.pid in {found.pid for found in sandbox.commands.list()}
    sandbox.pty.send_stdin(terminal.pid, b"exit 5\n")
    with pytest.raises(CommandExitException) as failure:
        terminal.wait()
    assert failure.value.exit_code == 5


def test_user_directory_and_environment(sandbox: Sandbox) -> None:
    terminal = sandbox.pty.create(SIZE, user="root", cwd="/usr/lib", envs={"MINE": "yes"})
    sandbox.pty.send_stdin(terminal.pid, b"echo it:$(id -un):$PWD:$MINE\n")
    until(terminal, "it:root:/usr/lib:yes")
    assert sandbox.pty.kill(terminal.pid)


def test_a_new_size_is_told_to_what_runs(sandbox: Sandbox) -> None:
    terminal = sandbox.pty.create(SIZE)
    sandbox.pty.send_stdin(terminal.pid, WATCH_SIZE)
    until(terminal, "ready\r\n")
    sandbox.pty.resize(terminal.pid, PtySize(rows=40, cols=100))
    until(terminal, "40 100\r\n")
    assert sandbox.pty.kill(terminal.pid)


def test_control_c_ends_what_runs_and_not_the_shell(sandbox: Sandbox) -> None:
    terminal = sandbox.pty.create(SIZE)
    sandbox.pty.send_stdin(terminal.pid, b"sh -c 'echo re\"\"ady; exec sleep 1000'\n")
    until(terminal, "ready\r\n")
    sandbox.pty.send_stdin(terminal.pid, b"\x03")
    sandbox.pty.send_stdin(terminal.pid, b"echo code $?\n")
    until(terminal, "code 130\r\n")
    sandbox.pty.send_stdin(terminal.pid, b"exit\n")
    assert terminal.wait().exit_code == 0


def test_killed_and_not_there(sandbox: Sandbox) -> None:
    terminal = sandbox.pty.create(SIZE)
    assert sandbox.pty.kill(terminal.pid)
    with pytest.raises(CommandExitException) as failure:
        terminal.wait()
    assert failure.value.error == "signal: killed"
    assert not sandbox.pty.kill(terminal.pid)
    with pytest.raises(NotFoundException):
        sandbox.pty.send_stdin(terminal.pid, b"x")
    with pytest.raises(NotFoundException):
        sandbox.pty.resize(terminal.pid, SIZE)


def test_a_second_screen_for_one_terminal(sandbox: Sandbox) -> None:
    terminal = sandbox.pty.create(SIZE)
    terminal.disconnect()
    again = sandbox.pty.connect(terminal.pid)
    sandbox.pty.stream_input(terminal.pid, [b"echo st", b"ill he''re\n"])
    until(again, "still here")
    assert again.kill()


async def test_the_asynchronous_half(asandbox: AsyncSandbox) -> None:
    shown = bytearray()
    terminal = await asandbox.pty.create(SIZE, on_data=shown.extend)
    await asandbox.pty.resize(terminal.pid, PtySize(rows=30, cols=90))
    await asandbox.pty.send_stdin(terminal.pid, b"stty size; exit\n")
    await terminal.wait()
    assert b"30 90\r\n" in shown
