"""The part of a file that a request asks for (RFC 9110, section 14)."""

import re

_RANGE = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})")


class UnsatisfiableError(Exception):
    """The file has nothing of what is asked for."""


def of(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last; None for all of it.

    Several ranges, and what is no range, are answered with the whole, as the standard allows. Raises
    UnsatisfiableError.
    """
    match = _RANGE.fullmatch((header or "").replace(" ", ""))
    if match is None or match[0] == "bytes=-":
        return None
    if not match[1]:
        begin, end = max(size - int(match[2]), 0), size
    else:
        begin, end = int(match[1]), min(int(match[2]) + 1 if match[2] else size, size)
        if match[2] and int(match[2]) < begin:
            return None
    if begin >= end:
        raise UnsatisfiableError
    return begin, end
