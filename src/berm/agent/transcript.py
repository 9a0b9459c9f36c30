"""What commands write, line by line in the sandbox's log: all of it while it is little, then some."""

import time
from collections.abc import Iterator

from berm.agent.events import Stream
from berm.agent.log import log

BURST = 512 << 10
RATE = 16 << 10
"""Bytes of log that output may take: at once, and in a second after that."""

LONGEST = 600
"""Bytes of one entry; even if each of them is escaped, that is what a log takes at once."""

OVERHEAD = 128
"""Bytes that an entry takes in the log beside its text."""


class Allowance:
    """How much output may be logged, of all commands together: a log must cost neither time nor room."""

    def __init__(self, burst: int = BURST, rate: int = RATE) -> None:
        self._burst = burst
        self._rate = rate
        self._left = float(burst)
        self._at = time.monotonic()
        self._dry = False

    def is_open(self) -> bool:
        """Whether there is any left; when there was none, not before there is enough for a second."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        self._dry = self._dry and self._left < self._rate
        return not self._dry

    def take(self, size: int) -> bool:
        """Take so much, if there is so much."""
        self._dry = self._left < size
        if not self._dry:
            self._left -= size
        return not self._dry


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
        if not self._allowance.is_open():
            self._left_out += len(data)
            return
        self._tell_left_out()
        lines = (self._rest.pop(stream, b"") + data).split(b"\n")
        if len(lines[-1]) <= LONGEST:  # a longer one does not wait for its end
            self._rest[stream] = lines.pop()
        for number, line in enumerate(lines):
            if not self._log(stream, line):
                self._left_out += sum(len(line) + 1 for line in lines[number:])
                return

    def close(self) -> None:
        """Log what is left."""
        for stream, rest in self._rest.items():
            self._log(stream, rest)
        self._rest.clear()
        self._tell_left_out()

    def _log(self, stream: Stream, line: bytes) -> bool:
        """Log a line, unless that is more than may be logged."""
        text = line.rstrip()
        pieces = list(_pieces(text))
        if not self._allowance.take(len(text) + OVERHEAD * len(pieces) or 1):
            return False
        for piece in pieces:
            log("info", piece.decode("utf-8", "replace"), logger=f"process.{stream}", pid=self._pid)
        return True

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
