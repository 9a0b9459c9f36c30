"""Input to commands and terminals: sent, streamed, closed, refused, by both halves of the SDK."""

import asyncio
import hashlib
import os
from typing import Any

import pytest
from e2b import (
    AsyncSandbox,
    CommandExitException,
    InvalidArgumentException,
    NotFoundException,
    PtySize,
    RateLimitException,
    Sandbox,
    SandboxException,
    TimeoutException,
)

from tests.sdk.attempts import all_raise
from tests.sdk.halves import shown_to

MIB = 1 << 20


def test_text_and_bytes_by_handle_and_by_pid(either: Any) -> None:
    handle = either.commands.run("cat", background=True, stdin=True)
    handle.send_stdin("gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n ", request_timeout=30)
    handle.send_stdin(b"bytes ")
    either.commands.send_stdin(handle.pid, "by pid ", request_timeout=30)
    either.commands.send_stdin(handle.pid, b"")
    either.commands.send_stdin(handle.pid, b"end")
    either.commands.close_stdin(handle.pid, request_timeout=30)
    assert handle.wait().stdout == "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n bytes by pid end"


def test_every_byte_passes(either: Any) -> None:
    data = bytes(range(256)) * 5000
    handle = either.commands.run("sha256sum", background=True, stdin=True)
    handle.send_stdin(data)
    handle.close_stdin(request_timeout=30)
    assert handle.wait().stdout.split()[0] == hashlib.sha256(data).hexdigest()


def test_thirty_two_mebibytes_at_once(either: Any) -> None:
    data = os.urandom(MIB) * 32
    handle = either.commands.run("sha256sum", background=True, stdin=True)
    handle.send_stdin(data)
    handle.close_stdin()
    assert handle.wait().stdout.split()[0] == hashlib.sha256(data).hexdigest()


def test_closing_twice_is_closing_once(either: Any) -> None:
    handle = either.commands.run("cat; read line < wait", background=True, stdin=True, cwd="/tmp")
    either.commands.run("test -e /tmp/wait || mkfifo /tmp/wait")
    handle.close_stdin()
    handle.close_stdin()
    handle.kill()


def test_input_that_is_refused(either: Any) -> None:
    without = either.commands.run("exec sleep 1000", background=True, timeout=0)
    closed = either.commands.run("exec sleep 1000", background=True, stdin=True, timeout=0)
    closed.close_stdin()
    deaf = either.commands.run(
        "exec <&-; touch deaf; exec sleep 1000", background=True, stdin=True, timeout=0
    )
    either.commands.run("until test -e deaf; do :; done")
    terminal = either.pty.create(size=PtySize(rows=24, cols=80), **shown_to(either))
    all_raise(SandboxException, "was started without stdin", lambda: without.send_stdin("x"))
    all_raise(SandboxException, "input is closed", lambda: closed.send_stdin("x"))
    all_raise(SandboxException, "has closed its input", lambda: deaf.send_stdin("x" * MIB))
    all_raise(SandboxException, "Ctrl", lambda: either.commands.close_stdin(terminal.pid))
    all_raise(
        InvalidArgumentException,
        "takes no (stdin|pty) input",
        lambda: either.commands.send_stdin(terminal.pid, "x"),
        lambda: either.pty.send_stdin(without.pid, b"x"),
    )
    all_raise(
        SandboxException,
        "has no terminal",
        lambda: either.pty.resize(without.pid, PtySize(rows=24, cols=80)),
    )


def test_a_stream_of_pieces(sandbox: Sandbox) -> None:
    pieces: list[str | bytes] = ["text ", b"bytes ", *(f"{number} " for number in range(2000))]
    handle = sandbox.commands.run("cat", background=True, stdin=True)
    sandbox.commands.stream_input(handle.pid, iter(pieces), timeout=30)
    sandbox.commands.stream_input(handle.pid, [], timeout=0)
    sandbox.commands.stream_input(handle.pid, ["more"], timeout=None)
    handle.close_stdin()
    assert handle.wait().stdout == "text bytes " + "".join(f"{n} " for n in range(2000)) + "more"


def test_a_stream_that_is_refused(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("exec sleep 1000", background=True, stdin=True, timeout=0)
    all_raise(InvalidArgumentException, "iterable", lambda: sandbox.commands.stream_input(handle.pid, "x"))
    all_raise(
        NotFoundException,
        "process with pid 999999 not found",
        lambda: sandbox.commands.stream_input(999_999, ["x"]),
        lambda: sandbox.commands.stream_input(999_999, ["x" * MIB] * 20),
        lambda: sandbox.pty.stream_input(999_999, ["x"]),
    )
    with pytest.raises(TimeoutException):
        sandbox.commands.stream_input(handle.pid, ["x" * MIB] * 4, timeout=0.5)
    assert handle.kill()


async def test_a_stream_is_passed_on_as_it_comes(asandbox: AsyncSandbox) -> None:
    """A program that is asked, answers, and is asked again, by one stream of input."""
    answers: asyncio.Queue[str] = asyncio.Queue()
    command = "while read line; do echo got $line; done; echo end"
    handle = await asandbox.commands.run(command, background=True, stdin=True, on_stdout=answers.put_nowait)
    async with asandbox.commands.stream_input(handle.pid, timeout=0) as stream:
        for number in range(3):
            await stream.send(f"{number}\n")
            assert await answers.get() == f"got {number}\n"
    with pytest.raises(SandboxException, match="closed"):
        await stream.send("late")
    await handle.close_stdin()
    assert (await handle.wait()).stdout.endswith("end\n")


async def test_several_streams_into_one_command(asandbox: AsyncSandbox) -> None:
    handle = await asandbox.commands.run("sort -n | uniq -c | wc -l", background=True, stdin=True)
    streams = [asandbox.commands.stream_input(handle.pid) for _ in range(4)]
    for number in range(1000):
        await streams[number % 4].send(f"{number}\n")
    for stream in streams:
        await stream.close()
    await handle.close_stdin()
    assert (await handle.wait()).stdout.strip() == "1000"


async def test_an_asynchronous_stream_that_fails(asandbox: AsyncSandbox) -> None:
    nobody = asandbox.commands.stream_input(999_999)
    await nobody.send("x")
    with pytest.raises(NotFoundException, match="process with pid 999999 not found"):
        await nobody.close()
    handle = await asandbox.commands.run("exec sleep 1000", background=True, stdin=True, timeout=0)
    slow = asandbox.commands.stream_input(handle.pid, timeout=0.5)
    await slow.send("x" * (4 * MIB))
    with pytest.raises(TimeoutException):
        await slow.close()
    ended = asandbox.commands.stream_input(handle.pid)
    await ended.send("x")
    assert await handle.kill()
    with pytest.raises(SandboxException):
        await asyncio.gather(ended.send("y"), ended.close())
    with pytest.raises(CommandExitException):
        await handle.wait()


async def test_more_input_than_may_wait(asandbox: AsyncSandbox) -> None:
    """For one command; what others do is their own."""
    deaf = await asandbox.commands.run("exec sleep 1000", background=True, stdin=True, timeout=0)
    data = b"x" * (40 * MIB)
    sending = [asyncio.ensure_future(deaf.send_stdin(data)) for _ in range(2)]
    done, waiting = await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
    with pytest.raises(RateLimitException, match="too much is waiting"):
        await done.pop()
    assert (await asandbox.commands.run("echo well")).stdout == "well\n"
    assert await deaf.kill()
    with pytest.raises(SandboxException, match="closed"):
        await waiting.pop()


async def test_a_stream_into_a_terminal(asandbox: AsyncSandbox) -> None:
    shown = bytearray()
    terminal = await asandbox.pty.create(PtySize(rows=24, cols=80), on_data=shown.extend)
    async with asandbox.pty.stream_input(terminal.pid) as stream:
        for piece in ("echo st", b"ill he''re\n", "exit 3\n"):
            await stream.send(piece)
    with pytest.raises(CommandExitException) as failure:
        await terminal.wait()
    assert failure.value.exit_code == 3
    assert b"still here" in shown
