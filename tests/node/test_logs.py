import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from berm.api.wire.sandboxes import log_entry, log_lines
from berm.models import LogLine
from berm.node import logs
from tests.launcher.conftest import btrfs

__all__ = ["btrfs"]

NOON = "2030-01-01T12:00:00+00:00"


def entry(**fields: object) -> bytes:
    return json.dumps({"timestamp": NOON, "level": "info", "message": "m", **fields}).encode() + b"\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_lines_of_the_agent_have_their_fields(log: Path) -> None:
    log.write_bytes(entry(pid="7") + entry(message="n", level="warn"))
    moment = datetime.fromisoformat(NOON)
    assert logs.read(log) == [LogLine(moment, "info", "m", {"pid": "7"}), LogLine(moment, "warn", "n")]


def test_there_is_no_log_yet(log: Path) -> None:
    assert logs.read(log) == []


HOSTILE = {
    "text": b"no json",
    "number": b"7",
    "list": b"[1]",
    "bytes": b"\xff\xfe\x00",
    "brackets": b"[" * 200_000,
    "objects": b'{"a":' * 200_000,
    "no date": entry(timestamp="yesterday"),
    "a number for a date": entry(timestamp=7),
    "before all time": entry(timestamp="0001-01-01T00:00:00+23:59"),
    "after all time": entry(timestamp="9999-12-31T23:59:59-23:59"),
    "a number of many digits": b'{"timestamp": ' + b"1" * 10_000 + b"}",
    "levels in levels": entry(level={"level": ["level"]}),
    "half a character": entry(message="\ud800"),
    "many fields": entry(**{f"f{number}": "x" for number in range(1000)}),
    "a field that is ours": entry(sandboxID="other", level="fatal"),
    "escapes": entry(message="\x1b]0;title\x07"),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_nothing_a_sandbox_writes_breaks_an_answer(log: Path, content: bytes) -> None:
    log.write_bytes(content.rstrip(b"\n") + b"\n" + entry())
    [first, second] = logs.read(log)
    assert second.message == "m"
    assert first.timestamp.tzinfo is UTC
    assert len(first.fields) <= 16
    entries = [log_entry(first)]
    # As the server does it: what cannot be sent raises.
    json.dumps(entries, ensure_ascii=False).encode()
    assert json.loads(log_lines(entries)[0]["line"])["level"] in ("debug", "info", "warn", "error")


def test_only_the_end_of_a_long_log_is_read(log: Path) -> None:
    log.write_bytes(b"".join(entry(message=f"{number:08}", pad="x" * 200) for number in range(10_000)))
    read = logs.read(log)
    assert read[-1].message == "00009999"
    assert all(len(line.message) == 8 for line in read)
    assert 0.9 < len(read) * len(entry(message="00000000", pad="x" * 200)) / logs.MAX_BYTES <= 1


def test_there_are_only_so_many_lines(log: Path) -> None:
    log.write_bytes(b"a\n" * (logs.MAX_BYTES // 2))
    assert len(logs.read(log)) == logs.MAX_LINES


def test_a_link_is_not_followed(log: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    log.symlink_to("secret")
    with pytest.raises(OSError, match="Too many levels"):
        logs.read(log)
    (tmp_path / "secret").write_bytes(b"x" * 3 * logs.MAX_BYTES)
    logs.trim(log)
    assert (tmp_path / "secret").read_bytes() == b"x" * 3 * logs.MAX_BYTES


@pytest.mark.root
def test_a_log_takes_no_more_room_than_is_read(request: pytest.FixtureRequest) -> None:
    log = Path(request.getfixturevalue("btrfs")) / "log"
    with log.open("ab", buffering=0) as writer:
        writer.write(entry(message="first"))
        logs.trim(log)
        assert logs.read(log)[0].message == "first"
        for _ in range(10):
            writer.write(entry(pad="x" * 1000) * 1000)
            logs.trim(log)
            writer.write(entry(message="last"))
            assert logs.read(log)[-1].message == "last"
            assert log.stat().st_blocks * 512 <= 3 * logs.MAX_BYTES
    os.sync()
    assert log.stat().st_blocks * 512 <= 3 * logs.MAX_BYTES
    assert len(logs.read(log)) > 900


def test_the_ends_of_logs_are_kept_as_long_as_there_is_room(log: Path) -> None:
    ends = logs.Ends(most=3 * logs.KEPT_BYTES)
    log.write_bytes(entry(message="m" * 100) * 1000)
    for number in range(5):
        ends.keep(str(number), log)
        ends.keep(str(number), log)
    kept = [logs.parse(ends.get(str(number))) for number in range(5)]
    assert kept[:2] == [[], []]
    assert all(len(lines) > 100 for lines in kept[2:])
    # No line is cut.
    assert {line.message for line in kept[4]} == {"m" * 100}


def test_of_a_sandbox_without_a_log_there_is_none(log: Path) -> None:
    ends = logs.Ends()
    ends.keep("1", log)
    assert logs.parse(ends.get("1")) == logs.parse(ends.get("2")) == []
