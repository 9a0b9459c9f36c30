"""The one error type inside berm. HTTP status, RPC code and exit code are chosen from `Code` at each edge."""

from enum import StrEnum


class Code(StrEnum):
    """What went wrong, in words no transport owns."""

    INVALID_ARGUMENT = "invalid_argument"
    UNAUTHENTICATED = "unauthenticated"
    PERMISSION_DENIED = "permission_denied"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    TOO_LARGE = "too_large"
    RATE_LIMITED = "rate_limited"
    NO_SPACE = "no_space"
    UNAVAILABLE = "unavailable"
    TIMED_OUT = "timed_out"
    NOT_OFFERED = "not_offered"
    INTERNAL = "internal"


class BermError(Exception):
    """A failure with a sentence for the user and, where there is one, the next thing to try.

    `message` says what is wrong and names the field and the value; `hint` says what to do about it;
    `retry_after` is in how many seconds the same may succeed, where that is known.
    """

    def __init__(self, code: Code, message: str, hint: str = "", retry_after: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message
