"""When a sandbox ends, and what is said of one that is not there: pure functions."""

from datetime import UTC, datetime, timedelta

from berm.errors import BermError, Code

_LONGEST_ECHO = 64


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


def no_sandbox(sandbox_id: str) -> BermError:
    return BermError(
        Code.NOT_FOUND,
        f"sandbox {sandbox_id[:_LONGEST_ECHO]!r} not found",
        "it has ended, or it never was: GET /v2/sandboxes",
    )


def seconds_until(moment: datetime | None, start: datetime) -> float | None:
    """How long to wait at `start` for `moment`: never negative, None if it never comes."""
    return None if moment is None else max(0.0, (moment - start).total_seconds())
