"""Encoding, conditions and ranges a client may ask for in a GET: RFC 9110, sections 12 to 14."""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from berm.agent.errors import AgentError, Kind

_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)
_MAX_DIGITS = 18


def choose_encoding(accepted: str) -> str:
    """`gzip` for who asks for it alone, or takes nothing else; raises AgentError if neither will do.

    A list is a client's default, and compressing would cost more than the way to it does.
    """
    weights = dict(_weight(item) for item in accepted.lower().split(",") if item.strip())
    gzip = weights.get("gzip", weights.get("*", 0.0)) > 0
    identity = weights.get("identity", weights.get("*", 1.0)) > 0
    if gzip and (not identity or weights.keys() == {"gzip"}):
        return "gzip"
    if identity:
        return "identity"
    raise AgentError(Kind.NOT_ACCEPTABLE, "no acceptable encoding found, supported: [identity, gzip]")


def _weight(item: str) -> tuple[str, float]:
    name, _, parameter = item.partition(";")
    try:
        return name.strip(), float(parameter.strip().removeprefix("q=") or 1)
    except ValueError:
        return name.strip(), 0.0


def precondition(headers: Mapping[str, str], etag: str, modified: int) -> int:
    """The status that ends the request, 304 or 412, or 0 to go on."""
    if "if-match" in headers:
        if not _lists(headers["if-match"], etag):
            return 412
    elif (since := _seconds(headers.get("if-unmodified-since"))) is not None and modified > since:
        return 412
    if "if-none-match" in headers:
        return 304 if _lists(headers["if-none-match"], etag) else 0
    since = _seconds(headers.get("if-modified-since"))
    return 304 if since is not None and modified <= since else 0


def _lists(header: str, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return "*" in tags or etag in tags


def _seconds(date: str | None) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() if date else None
    except (ValueError, OverflowError):
        return None


def byte_range(headers: Mapping[str, str], size: int, etag: str, modified: int) -> range | None:
    """The bytes asked for, or None for all: also for a malformed range, several, or one of another version.

    An empty range stands for one that begins after the end.
    """
    match = _RANGE.fullmatch(headers.get("range", "").strip())
    if match is None or not _same_version(headers.get("if-range"), etag, modified):
        return None
    first, last = (digits[:_MAX_DIGITS] for digits in match.groups())
    if not first:
        return range(max(0, size - int(last)), size) if last else None
    end = min(int(last) + 1, size) if last else size
    if last and int(last) < int(first):
        return None
    return range(int(first), max(int(first), end))


def _same_version(condition: str | None, etag: str, modified: int) -> bool:
    return condition is None or condition.strip() == etag or _seconds(condition) == modified
