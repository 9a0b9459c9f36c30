"""One JSON object per line on standard error, dropped rather than waited for when nobody reads it."""

import json
import logging
import os
import select
import sys
from contextlib import suppress
from datetime import UTC, datetime

_STDERR = 2
_MAX_FIELD = 600
_poll = select.poll()
_poll.register(_STDERR, select.POLLOUT)


def log(level: str, message: str, **fields: str) -> None:
    """Write a line, unless standard error takes none."""
    record = {"timestamp": datetime.now(UTC).isoformat(), "level": level, "message": message} | fields
    line = json.dumps({name: value[:_MAX_FIELD] for name, value in record.items()}) + "\n"
    # A pipe that polls writable takes PIPE_BUF (4096) bytes without blocking: pipe(7).
    if len(line) <= select.PIPE_BUF and _poll.poll(0):
        # The log may share a quota with the sandbox's files: a full disk must cost lines, not the agent.
        with suppress(OSError):
            os.write(_STDERR, line.encode())


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        trace = self.format(record)[-_MAX_FIELD:] if record.exc_info else ""
        log(record.levelname.lower(), record.getMessage(), logger=record.name, trace=trace)


def install() -> None:
    """Send what libraries log the same way."""
    logging.basicConfig(level=logging.WARNING, handlers=[_Handler()], force=True)
    logging.raiseExceptions = False
    sys.excepthook = lambda _kind, error, _trace: log("error", f"the agent ended: {error!r}")
