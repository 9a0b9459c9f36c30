"""Every option of files.read, write and write_files, by both halves of the SDK."""

import io
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from e2b import (
    AsyncSandbox,
    InvalidArgumentException,
    Sandbox,
)

from tests.sdk.attempts import all_raise
from tests.sdk.halves import Blocking
from tests.sdk.test_files import at

MIB = 1 << 20
DATA = bytes(range(256)) * 1000
TEXT = "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n \N{ROCKET}\r\n\n"


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("octets", [None, False, True])
def test_every_way_to_write_and_read(either: Any, octets: bool | None, compressed: bool) -> None:
    if compressed and octets is False:
        all_raise(
            InvalidArgumentException,
            "gzip",
            lambda: either.files.write("x", "x", gzip=True, use_octet_stream=False),
        )
        return
    how = {"gzip": compressed, "use_octet_stream": octets, "request_timeout": 60}
    assert either.files.write("data", DATA, **how).path == at("data")
    either.files.write("text", TEXT, **how)
    either.files.write("empty", b"", **how)
    either.files.write("roots", "x", user="root", **how)
    assert bytes(either.files.read("data", format="bytes", gzip=compressed)) == DATA
    assert b"".join(either.files.read("data", format="stream", gzip=compressed, request_timeout=60)) == DATA
    assert either.files.read("text", format="text", gzip=compressed) == TEXT
    assert either.files.read("empty", gzip=compressed) == ""
    assert b"".join(either.files.read("empty", format="stream")) == b""
    assert either.files.read("/root/roots", user="root", request_timeout=30) == "x"
    assert either.commands.run("stat -c '%U %a' data text empty").stdout == "user 644\n" * 3


@pytest.fixture
def kinds(tmp_path: Path) -> Iterator[list[tuple[Any, bytes]]]:
    """Everything that both halves take as data, and what it stands for."""
    (tmp_path / "file").write_bytes(DATA)
    text = TEXT.encode()
    with (tmp_path / "file").open("rb") as file:
        yield [(file, DATA), (io.BytesIO(DATA), DATA), (io.StringIO(TEXT), text), (TEXT, text)]


Kinds = list[tuple[Any, bytes]]


@pytest.mark.parametrize("octets", [None, False, True])
def test_data_of_every_kind(either: Any, kinds: Kinds, octets: bool | None) -> None:
    for data, expected in kinds:
        either.files.write("data", data, use_octet_stream=octets)
        assert bytes(either.files.read("data", format="bytes")) == expected


def pieces() -> Iterator[bytes]:
    for number in range(64):
        yield bytes([number]) * MIB


async def asynchronous_pieces() -> AsyncIterator[bytes]:
    for piece in pieces():
        yield piece


@pytest.mark.parametrize("compressed", [False, True])
def test_a_stream_whose_end_nobody_knows_before(either: Any, compressed: bool) -> None:
    data = asynchronous_pieces() if isinstance(either, Blocking) else pieces()
    either.files.write("data", data, gzip=compressed)
    shown = either.commands.run("wc -c < data; tail -c 1 data | od -An -tu1").stdout
    assert shown.split() == [str(64 * MIB), "63"]


def test_a_download_that_is_left(either: Any) -> None:
    either.files.write("data", DATA * 100)
    for piece in either.files.read("data", format="stream"):
        assert DATA.startswith(piece[:256])
        break
    assert either.files.exists("data")


def test_many_files_of_different_kinds(either: Any, kinds: Kinds) -> None:
    files = [{"path": f"many/{n}", "data": data} for n, (data, _) in enumerate(kinds)]
    written = either.files.write_files(files, user="root", gzip=True, metadata={"job": "7"})
    assert [entry.path for entry in written] == [f"/root/many/{n}" for n in range(4)]
    assert [entry.metadata for entry in written] == [{"job": "7"}] * 4
    sizes = [entry.size for entry in either.files.list("/root/many", user="root")]
    assert sizes == [len(DATA), len(DATA), len(TEXT.encode()), len(TEXT.encode())]
    assert either.files.write_files([]) == []


def test_metadata_is_replaced_and_cleared(either: Any) -> None:
    keys = {"a": "", "key-with.dots_1": 'value with blanks; = , "quotes"', "UPPER": "Case"}
    kept = {key.lower(): value for key, value in keys.items()}
    for octets in (True, False):
        assert either.files.write("file", "x", metadata=keys, use_octet_stream=octets).metadata == kept
        assert either.files.get_info("file").metadata == kept
        assert either.files.write("file", "y", metadata={"b": "2"}).metadata == {"b": "2"}
        assert either.files.rename("file", "moved").metadata == {"b": "2"}
        assert either.files.list("/home/user/")[-1].metadata == {"b": "2"}
        assert not either.files.write("moved", "z").metadata
        assert not either.files.get_info("moved").metadata
        either.files.rename("moved", "file")
    set_inside = "python3 -c \"import os; os.setxattr('file', 'user.e2b.inside', b'yes')\""
    either.commands.run(set_inside)
    assert either.files.get_info("file").metadata == {"inside": "yes"}


def test_metadata_that_is_too_much(either: Any) -> None:
    largest = "v" * (4096 - len("user.e2b.k"))
    assert either.files.write("file", "x", metadata={"k": largest}).metadata == {"k": largest}
    assert either.files.write("file", "x", metadata={"k" * 246: "v"}).metadata == {"k" * 246: "v"}
    all_raise(
        InvalidArgumentException,
        "(?i)metadata",
        lambda: either.files.write("other", "x", metadata={"k": largest + "v"}),
        lambda: either.files.write("other", "x", metadata={"k" * 247: "v"}),
        lambda: either.files.write("other", "x", metadata={str(n): "v" * 400 for n in range(11)}),
        lambda: either.files.write("other", "x", metadata={"a b": "v"}),
        lambda: either.files.write("other", "x", metadata={"k": "line\nbreak"}),
        lambda: either.files.write("other", "x", metadata={"": "v"}),
    )
    assert not either.files.exists("other")


def test_readers_that_are_closed(sandbox: Sandbox) -> None:
    sandbox.files.write("data", DATA * 100)
    with sandbox.files.read("data", format="stream") as stream:
        assert next(stream)
    with pytest.raises(StopIteration):
        next(stream)
    sandbox.files.read("data", format="stream").close()
    assert sandbox.files.exists("data")


async def test_a_stream_that_stalls_is_given_up(asandbox: AsyncSandbox) -> None:
    await asandbox.files.write("data", os.urandom(MIB) * 64)
    stream = await asandbox.files.read("data", format="stream", stream_idle_timeout=30)
    total = 0
    async with stream as reading:
        async for piece in reading:
            total += len(piece)
    assert total == 64 * MIB
