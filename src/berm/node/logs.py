"""Reading a sandbox's log. Every byte of it may have been written by the sandbox."""

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from berm.launcher import syscalls
from berm.models import LogLine

MAX_BYTES: Final = 1 << 20
MAX_LINES: Final = 10_000
KEPT_BYTES: Final = 32 << 10
_MAX_FIELDS: Final = 16
_BLOCK: Final = 512


def read(path: Path) -> list[LogLine]:
    """The last MAX_LINES of the last MAX_BYTES of the log, oldest line first.

    A line that is no log line is kept as plain text.
    """
    return parse(_end(path, MAX_BYTES))


@dataclass(frozen=True, slots=True)
class End:
    """The last lines of a log, and when it was written last."""

    data: bytes = b""
    written: float = 0.0


def parse(end: End) -> list[LogLine]:
    written = _moment(end.written)
    lines = end.data.splitlines()[-MAX_LINES:]
    return [_parse(line.decode(errors="replace"), written) for line in lines if line.strip()]


class Ends:
    """The ends of the logs of sandboxes that are gone, in memory, as long as they are the latest."""

    def __init__(self, most: int = 16 << 20) -> None:
        self._most = most
        self._ends: dict[str, End] = {}
        self._size = 0

    def keep(self, sandbox_id: str, path: Path) -> None:
        """Keep the end of a log that is about to go. Raises OSError."""
        end = _end(path, KEPT_BYTES)
        self._size += len(end.data) - len(self._ends.pop(sandbox_id, End()).data)
        self._ends[sandbox_id] = end
        while self._size > self._most:
            self._size -= len(self._ends.pop(next(iter(self._ends))).data)

    def get(self, sandbox_id: str) -> End:
        """Empty of a sandbox that nothing is kept of."""
        return self._ends.get(sandbox_id, End())


def _end(path: Path, most: int) -> End:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return End()
    with open(fd, "rb", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - most, 0))
        data = file.read(most)
        written = os.fstat(fd).st_mtime
    # Where it was cut there is half a line.
    return End(data.partition(b"\n")[2] if size > most else data, written)


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
