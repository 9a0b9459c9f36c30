"""What can go wrong inside a sandbox reaches the caller as the SDK's own exception, by both halves."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from e2b import (
    AsyncSandbox,
    CommandExitException,
    NotEnoughSpaceException,
    Sandbox,
    SandboxException,
    SandboxNotRunningException,
)

from tests.instance import Instance
from tests.sdk.attempts import all_raise
from tests.sdk.halves import Blocking
from tests.sdk.products import small_disk

MIB = 1 << 20


@pytest.fixture(scope="module")
def template(berm: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with small_disk(berm, tmp_path_factory.mktemp("template")) as name:
        yield name


@pytest.fixture
def full(half: Any, template: str) -> Iterator[Any]:
    """A sandbox whose disk is full."""
    made = half.create(template, timeout=120)
    made.files.write("old", "content")
    made.commands.run("! head -c 1G /dev/zero > most")
    yield made
    made.kill()


def endless() -> Iterator[bytes]:
    for _ in range(400):
        yield b"x" * MIB


def test_a_full_disk(full: Any) -> None:
    data = b"x" * (8 * MIB)
    all_raise(
        NotEnoughSpaceException,
        "not enough disk space",
        lambda: full.files.write("new", data),
        lambda: full.files.write("new", data, use_octet_stream=True),
        lambda: full.files.write("new", data * 4, gzip=True),
        lambda: full.files.write_files([{"path": "a", "data": ""}, {"path": "b", "data": data}]),
    )
    with pytest.raises(CommandExitException, match=r"(?i)quota|space"):
        full.commands.run("head -c 8M /dev/zero > new")
    assert full.files.read("old") == "content"
    full.files.remove("most")
    full.files.write("new", data)
    assert full.files.get_info("new").size == len(data)


def test_a_full_disk_tells_whoever_still_sends(full: Any) -> None:
    """The answer comes long before the end of what is sent."""

    async def endlessly() -> Any:
        for piece in endless():
            yield piece

    all_raise(
        NotEnoughSpaceException,
        "not enough disk space",
        lambda: full.files.write("new", endlessly() if isinstance(full, Blocking) else endless()),
        lambda: full.files.write("new", b"x" * (200 * MIB)),
        lambda: full.files.write("new", b"x" * (200 * MIB), use_octet_stream=True),
    )


def killed_during(sandbox: Any, act: Callable[[], object]) -> BaseException:
    """What `act` raises when its sandbox is killed meanwhile, from another place."""
    threading.Timer(0.3, lambda: Sandbox.kill(sandbox.sandbox_id)).start()
    with pytest.raises(SandboxException) as failure:
        act()
    return failure.value


def test_killed_while_a_command_runs(either: Any) -> None:
    error = killed_during(either, lambda: either.commands.run("exec sleep 1000", timeout=0))
    assert type(error) is SandboxNotRunningException


def test_killed_while_a_file_is_read(either: Any) -> None:
    either.commands.run("truncate -s 200G large")
    error = killed_during(either, lambda: either.files.read("large", format="bytes"))
    assert type(error) is SandboxNotRunningException


def test_killed_while_a_file_is_streamed(either: Any) -> None:
    either.commands.run("truncate -s 200G large")
    stream = either.files.read("large", format="stream")
    assert next(iter(stream))
    either.kill()
    with pytest.raises(httpx.TransportError):
        for _ in stream:
            pass


def test_killed_while_a_file_is_written(either: Any) -> None:
    def slowly() -> Iterator[bytes]:
        while True:
            yield b"x" * 1000

    async def asynchronously() -> Any:
        for piece in slowly():
            yield piece

    data = asynchronously() if isinstance(either, Blocking) else slowly()
    error = killed_during(either, lambda: either.files.write("new", data))
    assert type(error) is SandboxNotRunningException


def test_killed_before_an_answer_begins(either: Any) -> None:
    deaf = either.commands.run("exec sleep 1000", background=True, stdin=True, timeout=0)
    error = killed_during(either, lambda: either.commands.send_stdin(deaf.pid, "x" * MIB))
    assert type(error) is SandboxNotRunningException


def test_after_it_was_killed(either: Any) -> None:
    handle = either.commands.run("exec sleep 1000", background=True, timeout=0)
    either.kill()
    taking = [lambda event: None] if isinstance(either, Blocking) else []
    all_raise(
        SandboxNotRunningException,
        "sandbox was killed",
        handle.wait,
        handle.kill,
        lambda: either.commands.run("true"),
        either.commands.list,
        lambda: either.files.read("x"),
        lambda: either.files.write("x", "x"),
        lambda: either.files.list("/"),
        lambda: either.files.exists("/"),
        lambda: either.files.watch_dir("/", *taking),
        lambda: either.git.status("/"),
    )
    assert either.is_running() is False


async def test_the_end_of_a_sandbox_is_told_to_many(asandbox: AsyncSandbox) -> None:
    waiting = [asyncio.ensure_future(asandbox.commands.run("exec sleep 1000", timeout=0)) for _ in range(20)]
    while len(await asandbox.commands.list()) < 20:
        pass
    await asandbox.kill()
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(error) for error in ended} == {SandboxNotRunningException}
