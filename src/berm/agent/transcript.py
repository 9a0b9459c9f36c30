"""What commands write, line by line in the sandbox's log: all of it while it is little, then some."""

import time
from collections.abc import Iterator

from berm.agent.events import Stream
from berm.agent.log import log

BURST = 256 << 10
RATE = 16 << 10
"""Bytes a second that are logged of commands that have written more than BURST."""

LONGEST = 600
"""Bytes of one entry; even if each of them is escaped, that is what a log takes at once."""


class Allowance:
    """How much output may be logged, of all commands together: a log must cost neither time nor room."""

    def __init__(self, burst: int = BURST, rate: int = RATE) -> None:
        self._burst = burst
        self._rate = rate
        self._left = float(burst)
        self._at = time.monotonic()
        self._dry = False

    def take(self, wanted: int) -> int:
        """How many of so many bytes may be logged now; after too many, a second's worth at a time."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._dry and self._left < self._rate:
            return 0
        taken = min(wanted, int(self._left))
        self._dry = taken < wanted
        self._left -= taken
        return taken


class Transcript:
    """The output of one command on its way to the log, but a terminal's: it holds what people type."""

    def __init__(self, pid: int, allowance: Allowance) -> None:
        self._pid = str(pid)
        self._allowance = allowance
        self._rest: dict[Stream, bytes] = {}
        self._left_out = 0

    def add(self, stream: Stream, data: bytes) -> None:
        if stream == "pty":
            return
        allowed = self._allowance.take(len(data))
        if allowed:
            self._tell_left_out()
            *lines, rest = (self._rest.pop(stream, b"") + data[:allowed]).split(b"\n")
            for line in lines:
                self._log(stream, line)
            if len(rest) > LONGEST:  # it does not wait for its end
                self._log(stream, rest)
            else:
                self._rest[stream] = rest
        self._left_out += len(data) - allowed

    def close(self) -> None:
        """Log what is left."""
        for stream, rest in self._rest.items():
            self._log(stream, rest)
        self._rest.clear()
        self._tell_left_out()

    def _log(self, stream: Stream, line: bytes) -> None:
        for piece in _pieces(line.rstrip()):
            log("info", piece.decode("utf-8", "replace"), logger=f"process.{stream}", pid=self._pid)

    def _tell_left_out(self) -> None:
        if self._left_out:
            message = f"{self._left_out} bytes of output are not logged, as there was much of it"
            log("warn", message, logger="process", pid=self._pid)
        self._left_out = 0


def _pieces(line: bytes) -> Iterator[bytes]:
    while line:
        end = _whole(line, LONGEST) if len(line) > LONGEST else len(line)
        yield line[:end]
        line = line[end:]


def _whole(text: bytes, end: int) -> int:
    """`end`, or a little less where that would cut a character of UTF-8 in two."""
    for less in range(4):
        if text[end - less] & 0xC0 != 0x80:
            return end - less
    return end
