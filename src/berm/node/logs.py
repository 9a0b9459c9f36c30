"""Reading a sandbox's log. Every byte of it may have been written by the sandbox."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from berm.launcher import syscalls
from berm.models import LogLine

MAX_BYTES: Final = 1 << 20
MAX_LINES: Final = 10_000
_MAX_FIELDS: Final = 16
_BLOCK: Final = 512


def read(path: Path) -> list[LogLine]:
    """The last MAX_LINES of the last MAX_BYTES of the log, oldest line first.

    A line that is no log line is kept as plain text.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    with open(fd, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - MAX_BYTES, 0))
        data = file.read(MAX_BYTES)
        written = _moment(os.fstat(fd).st_mtime)
    lines = data.splitlines()[1 if size > MAX_BYTES else 0 :]
    return [_parse(line.decode(errors="replace"), written) for line in lines[-MAX_LINES:] if line.strip()]


def trim(path: Path) -> None:
    """Give back the room of what `read` no longer reaches, once that is as much again. Raises OSError.

    The file keeps its length, and who writes to it goes on at its end: nothing is moved, nothing lost.
    """
    status = path.stat(follow_symlinks=False)
    if status.st_blocks * _BLOCK < 2 * MAX_BYTES:
        return
    fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        syscalls.punch_hole(fd, 0, max(status.st_size - MAX_BYTES, 0))
    finally:
        os.close(fd)


def _moment(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.now(UTC)


def _parse(text: str, written: datetime) -> LogLine:
    try:
        return _record(json.loads(text))
    # Made up numbers, dates at the ends of time, and brackets in brackets in brackets.
    except (ValueError, KeyError, AttributeError, TypeError, OverflowError, RecursionError):
        return LogLine(written, "info", text)


def _record(record: dict[str, Any]) -> LogLine:
    when = datetime.fromisoformat(record.pop("timestamp")).astimezone(UTC)
    level, message = str(record.pop("level")), str(record.pop("message"))
    fields = {key: str(value) for key, value in list(record.items())[:_MAX_FIELDS]}
    return LogLine(when, level, message, fields)
