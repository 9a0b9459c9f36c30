import os
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from berm.errors import BermError
from berm.templates.lock import Drift, Lock, Pin, drift, read
from berm.templates.problems import DefinitionError

ONE = "sha256:" + "1" * 64
TWO = "sha256:" + "2" * 64
NOW = datetime(2025, 1, 31, 12, 0, 0, tzinfo=UTC)


def test_a_lock_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "e2b.lock"
    odd = 'localhost:5000/a"b\\c\n\x7fü'
    lock = Lock({"node:20-alpine": Pin(ONE, NOW), odd: Pin(TWO, NOW)})
    lock.write(path)
    assert read(path) == lock


def test_the_file_is_stable_and_for_people(tmp_path: Path) -> None:
    path = tmp_path / "e2b.lock"
    west = NOW.astimezone(timezone(timedelta(hours=-5)))
    Lock({"node:20-alpine": Pin(TWO, NOW), "debian:12": Pin(ONE, west)}).write(path)
    assert path.read_text().endswith(
        f"""
version = 1

[images."debian:12"]
digest = "{ONE}"
resolved_at = 2025-01-31T12:00:00Z

[images."node:20-alpine"]
digest = "{TWO}"
resolved_at = 2025-01-31T12:00:00Z
"""
    )
    assert path.read_text().startswith("# ")


def test_no_lock_is_an_empty_one(tmp_path: Path) -> None:
    assert read(tmp_path / "e2b.lock") == Lock()
    Lock().write(tmp_path / "e2b.lock")
    assert read(tmp_path / "e2b.lock") == Lock()


def test_an_update_keeps_the_time_of_what_stayed() -> None:
    later = NOW + timedelta(days=1)
    lock = Lock({"a": Pin(ONE, NOW), "b": Pin(ONE, NOW), "gone": Pin(ONE, NOW)})
    updated = lock.updated({"a": ONE, "b": TWO, "new": TWO}, later)
    assert updated == Lock({"a": Pin(ONE, NOW), "b": Pin(TWO, later), "new": Pin(TWO, later)})


def test_drift() -> None:
    lock = Lock({"same": Pin(ONE, NOW), "moved": Pin(ONE, NOW), "gone": Pin(ONE, NOW)})
    found = drift(lock, {"same": ONE, "moved": TWO, "new": TWO})
    assert found == (Drift("gone", ONE, ""), Drift("moved", ONE, TWO), Drift("new", "", TWO))
    assert [str(one) for one in found] == [
        "gone is in the lock, but nothing uses it",
        f"moved was {ONE} and is now {TWO}",
        f"new is not in the lock; it is {TWO}",
    ]


def test_every_problem_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "e2b.lock"
    path.write_text(
        f"""version = 2
other = 1
[images."a"]
digest = "sha256:12"
resolved_at = 2025-01-31T12:00:00Z
[images."b"]
digest = "{ONE}"
[images.c]
digest = "{ONE}"
resolved_at = "yesterday"
[images]
d = 1
"""
    )
    with pytest.raises(DefinitionError) as caught:
        read(path)
    assert [(problem.line, problem.column) for problem in caught.value.problems] == [
        (1, 1),
        (2, 1),
        (4, 1),
        (6, 9),
        (10, 1),
        (12, 1),
    ]
    assert {problem.file for problem in caught.value.problems} == {str(path)}


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [("images = 1\nversion = 1", 1, 1), ("version = ", 1, 11), ("version = 1\n[images", 2, 8), ("", 1, 1)],
)
def test_a_broken_lock_is_refused(tmp_path: Path, text: str, line: int, column: int) -> None:
    path = tmp_path / "e2b.lock"
    path.write_text(text)
    with pytest.raises(DefinitionError) as caught:
        read(path)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (line, column)


def test_a_lock_that_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "e2b.lock")
    with pytest.raises(BermError, match="not a regular file"):
        read(tmp_path / "e2b.lock")


def test_a_lock_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "e2b.lock"
    path.write_text("before")
    path.chmod(0o664)
    seen = path.stat().st_ino
    with path.open() as reader:
        Lock({"a": Pin(ONE, NOW)}).write(path)
        assert reader.read() == "before"
    assert (path.stat().st_ino != seen, path.stat().st_mode & 0o777) == (True, 0o664)
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_left_when_a_lock_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "e2b.lock"
    path.mkdir()
    with pytest.raises(BermError, match="cannot be written"):
        Lock().write(path)
    assert list(tmp_path.iterdir()) == [path]
