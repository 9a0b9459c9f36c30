"""Reading a sandbox's log. Every byte of it may have been written by the sandbox."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from berm.models import LogLine

MAX_BYTES: Final = 1 << 20
_MAX_FIELDS: Final = 16


def read(path: Path) -> list[LogLine]:
    """The last MAX_BYTES of the log, oldest line first; a line that is no log line is kept as plain text."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    with open(fd, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - MAX_BYTES, 0))
        data = file.read(MAX_BYTES)
        written = datetime.fromtimestamp(os.fstat(fd).st_mtime, UTC)
    lines = data.splitlines()[1 if size > MAX_BYTES else 0 :]
    return [_parse(line.decode(errors="replace"), written) for line in lines if line.strip()]


def _parse(text: str, written: datetime) -> LogLine:
    try:
        record = json.loads(text)
        when = datetime.fromisoformat(record.pop("timestamp"))
        level, message = str(record.pop("level")), str(record.pop("message"))
    except (ValueError, KeyError, AttributeError, TypeError):
        return LogLine(written, "info", text)
    return LogLine(when.astimezone(UTC), level, message, _fields(record))


def _fields(record: dict[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in list(record.items())[:_MAX_FIELDS]}
