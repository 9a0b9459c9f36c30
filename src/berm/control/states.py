"""When a sandbox ends: pure functions of time."""

from datetime import UTC, datetime, timedelta

from berm.errors import BermError, Code


def now() -> datetime:
    return datetime.now(UTC)


def lifetime(seconds: int, longest: int) -> timedelta:
    """How long a sandbox may live. Raises BermError INVALID_ARGUMENT outside of 0 to `longest` seconds."""
    if not 0 <= seconds <= longest:
        raise BermError(
            Code.INVALID_ARGUMENT,
            f"timeout is {seconds}, which is not between 0 and {longest} seconds",
            "a running sandbox can be given more time again and again",
        )
    return timedelta(seconds=seconds)


def seconds_until(moment: datetime | None, start: datetime) -> float | None:
    """How long to wait at `start` for `moment`: never negative, None if it never comes."""
    return None if moment is None else max(0.0, (moment - start).total_seconds())
