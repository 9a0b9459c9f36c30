"""Text lines out of bytes that arrive in any pieces, from programs that may be hostile."""

import codecs
import re
from collections.abc import Callable

Output = Callable[[str], None]

_BREAK = re.compile(r"[\r\n]+")
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")


class Lines:
    """Gives `output` every line fed to it, without control characters and blank lines.

    Bytes that are not UTF-8 become U+FFFD; a line is cut at `limit` characters.
    """

    def __init__(self, output: Output, limit: int = 4096) -> None:
        self._output = output
        self._limit = limit
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""

    def feed(self, data: bytes, final: bool = False) -> None:
        *whole, rest = _BREAK.split(self._decoder.decode(data, final))
        for piece in whole:
            self._end_line(piece)
        self._keep(rest)

    def close(self) -> None:
        """Give out what is left of an unfinished line."""
        self.feed(b"", final=True)
        self._end_line("")

    def _keep(self, piece: str) -> None:
        self._pending += piece[: self._limit - len(self._pending)]

    def _end_line(self, piece: str) -> None:
        self._keep(piece)
        line, self._pending = _CONTROL.sub("", self._pending), ""
        if line.strip():
            self._output(line)
