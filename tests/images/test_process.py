import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from berm.errors import BermError, Code
from berm.images import process

pytestmark = pytest.mark.root


async def test_both_streams_go_to_the_output() -> None:
    lines: list[str] = []
    await process.run(["sh", "-c", "echo out; echo err >&2"], lines.append)
    assert sorted(lines) == ["err", "out"]


async def test_a_failure_carries_the_last_lines() -> None:
    with pytest.raises(BermError, match=r"seq failed: .*10 / .*invalid") as caught:
        await process.run(["sh", "-c", "seq 10; exec >&2; seq x; exit 3"], failed=named("seq"))
    assert caught.value.code is Code.INTERNAL


async def test_the_caller_words_the_failure() -> None:
    def failed(command: Sequence[str], lines: Sequence[str]) -> BermError:
        return BermError(Code.NOT_FOUND, f"{command[0]}: {lines[-1]}")

    with pytest.raises(BermError, match="sh: no such thing"):
        await process.run(["sh", "-c", "echo no such thing >&2; exit 1"], failed=failed)


async def test_a_missing_program_is_named() -> None:
    with pytest.raises(BermError, match="no-such-program is not installed") as caught:
        await process.run(["no-such-program"])
    assert caught.value.code is Code.NOT_OFFERED


async def test_read_returns_standard_output_alone() -> None:
    assert await process.read(["sh", "-c", r"echo noise >&2; printf 'a\0b\n'"]) == b"a\0b\n"


async def test_read_fails_with_the_error_stream() -> None:
    with pytest.raises(BermError, match="sh failed: broken"):
        await process.read(["sh", "-c", "echo fine; echo broken >&2; exit 1"])


async def test_read_refuses_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "READ_LIMIT", 10)
    assert await process.read(["printf", "0123456789"]) == b"0123456789"
    with pytest.raises(BermError, match="more than 10 bytes") as caught:
        await process.read(["printf", "0123456789a"])
    assert caught.value.code is Code.TOO_LARGE


async def test_temporary_files_go_where_the_caller_says(tmp_path: Path) -> None:
    lines: list[str] = []
    await process.run(["mktemp"], lines.append, temporary=tmp_path)
    assert Path(lines[0]).parent == tmp_path


async def test_what_a_program_mounts_goes_with_it(tmp_path: Path) -> None:
    await process.run(["mount", "-t", "tmpfs", "none", str(tmp_path)])
    assert not tmp_path.is_mount()


async def test_cancelling_ends_every_process(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    started = asyncio.Event()
    stubborn = f"trap '' TERM HUP INT; exec 9>{fifo}; echo up; exec sleep 1000"
    command = ["sh", "-c", 'setsid sh -c "$1" & wait', "sh", stubborn]
    task = asyncio.create_task(process.run(command, lambda _line: started.set()))
    await started.wait()
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert os.read(reader, 1) == b"", "a process still holds the other end"
    os.close(reader)


def named(name: str) -> process.Failure:
    return lambda _command, lines: process.failure([name], lines)


async def test_an_output_that_raises_ends_the_program() -> None:
    def refuse(line: str) -> None:
        raise ValueError(line)

    with pytest.raises(ValueError, match="enough"):
        await process.run(["sh", "-c", "echo enough; exec sleep infinity"], refuse)


async def test_lines_of_the_two_streams_are_not_mixed() -> None:
    lines: list[str] = []
    await process.run(["sh", "-c", "printf half; echo whole >&2; echo other"], lines.append)
    assert sorted(lines) == ["halfother", "whole"]
