import asyncio
import gzip
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from berm.errors import BermError, Code
from berm.images.archives import Limits
from berm.node import uploads
from tests.images.tars import file, special, symlink, tar

pytestmark = pytest.mark.root

NAME = "team-" + "a" * 64
OTHER = "team-" + "b" * 64


async def pieces(content: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


LIMITS = Limits()


async def receive(pool: Path, content: bytes, name: str = NAME, limits: Limits = LIMITS) -> None:
    await uploads.receive(pool, name, pieces(content), limits)


def left(pool: Path) -> list[str]:
    return [path.name for path in uploads.directory(pool).glob("*")]


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
async def test_files_are_received(tmp_path: Path, packed: type[bytes]) -> None:
    await receive(
        tmp_path, packed(tar([file("d/f", b"content", 0o4755, (1000, 1000)), symlink("l", "/etc")]))
    )
    assert uploads.has(tmp_path, NAME)
    status = (uploads.path(tmp_path, NAME) / "d/f").stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o4755, 0, 0)
    assert left(tmp_path) == [NAME]


async def broken_off() -> AsyncIterator[bytes]:
    yield gzip.compress(tar([file("f", os.urandom(5000))]))[:4000]
    raise ConnectionResetError


async def test_an_upload_that_breaks_off(tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError):
        await uploads.receive(tmp_path, NAME, broken_off(), Limits())
    assert not uploads.has(tmp_path, NAME)
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", Code.INVALID_ARGUMENT),
        (gzip.compress(tar([file("f", os.urandom(5000))]))[:4000], Code.INVALID_ARGUMENT),
        (tar([file("f"), special("dev", b"3")]), Code.INVALID_ARGUMENT),
        (tar([file("f", bytes(50000))]), Code.TOO_LARGE),
        (gzip.compress(tar([file("f", bytes(50000))])), Code.TOO_LARGE),
    ],
)
async def test_what_is_refused_leaves_nothing(tmp_path: Path, content: bytes, code: Code) -> None:
    with pytest.raises(BermError) as caught:
        await receive(tmp_path, content, limits=Limits(size=40000))
    assert caught.value.code is code
    assert left(tmp_path) == []


async def test_an_endless_upload_is_ended(tmp_path: Path) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1 << 20)

    with pytest.raises(BermError, match="the upload is too large") as caught:
        await uploads.receive(tmp_path, NAME, endless(), Limits(size=5 << 20))
    assert caught.value.code is Code.TOO_LARGE
    assert left(tmp_path) == []


async def test_two_at_once(tmp_path: Path) -> None:
    async def send(text: bytes) -> None:
        await receive(tmp_path, tar([file(f"{number}", text) for number in range(50)]))

    await asyncio.gather(send(b"one"), send(b"two"))
    found = {path.read_bytes() for path in uploads.path(tmp_path, NAME).iterdir()}
    assert found in ({b"one"}, {b"two"})
    assert left(tmp_path) == [NAME]


async def test_cancelling_leaves_nothing(tmp_path: Path) -> None:
    waiting = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield tar([file("f")])
        waiting.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(uploads.receive(tmp_path, NAME, slow(), Limits()))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "name",
    ["", "..", "team", "a" * 64, "team-" + "A" * 64, "../x-" + "a" * 64, "te/am-" + "a" * 64, f"{NAME}\n"],
)
async def test_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(BermError, match="is no name of received files"):
        await receive(tmp_path, tar([file("f")]), name)
    with pytest.raises(BermError):
        uploads.has(tmp_path, name)
    assert left(tmp_path) == []


async def test_files_are_used_and_dropped(tmp_path: Path) -> None:
    for name in (NAME, OTHER):
        await receive(tmp_path, tar([file("f")]), name)
        os.utime(uploads.path(tmp_path, name), (1, 1))
    uploads.use(tmp_path, NAME)
    found = uploads.last_uses(tmp_path)
    assert found[NAME] > found[OTHER] == 1
    assert uploads.path(tmp_path, NAME).stat().st_mtime == 1
    await uploads.drop(tmp_path, [NAME, "team-" + "c" * 64])
    assert list(uploads.last_uses(tmp_path)) == left(tmp_path) == [OTHER]


async def test_what_a_killed_server_left_is_swept(tmp_path: Path) -> None:
    await receive(tmp_path, tar([file("f")]))
    (uploads.directory(tmp_path) / ".partial-x/tree/deep").mkdir(parents=True)
    await uploads.sweep(tmp_path)
    assert left(tmp_path) == [NAME]


async def test_nothing_is_swept_where_nothing_was_received(tmp_path: Path) -> None:
    await uploads.sweep(tmp_path)
    assert uploads.last_uses(tmp_path) == {}


async def test_no_space(tmp_path: Path) -> None:
    script = 'mount -t tmpfs -o size=1m none "$1" && exec "$2" -c "$3" "$1"'
    program = (
        "import asyncio, sys; from pathlib import Path; from tests.node import test_uploads as t;"
        "asyncio.run(t.receive(Path(sys.argv[1]), bytes(2 << 20)))"
    )
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path), sys.executable, program]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert "BermError: No space left on device" in done.stderr
