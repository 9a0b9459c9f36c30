"""What answers about different things have in common."""

from datetime import datetime
from typing import Any

Json = dict[str, Any]


def instant(moment: datetime) -> str:
    """RFC 3339."""
    return moment.isoformat().replace("+00:00", "Z")


def maybe_instant(moment: datetime | None) -> str | None:
    return instant(moment) if moment else None


def printable(text: str) -> str:
    """Text that is not ours may hold what UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()
