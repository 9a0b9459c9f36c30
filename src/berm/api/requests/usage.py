"""The E2B requests about what sandboxes use."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from berm.api.requests.common import Query, Text, split
from berm.errors import BermError, Code

Moment = Annotated[int, Field(ge=0, lt=1 << 63)]
"""Seconds since 1970."""


class Interval(Query):
    """Both ends belong to it; without one it has no end there."""

    start: Moment | None = None
    end: Moment | None = None

    def check(self) -> None:
        """Raises BermError INVALID_ARGUMENT for one that nothing can be in."""
        if self.start is not None and self.end is not None and self.start > self.end:
            raise BermError(
                Code.INVALID_ARGUMENT, f"start is {self.start}, which is after end, {self.end}", "swap them"
            )

    def has(self, moment: float) -> bool:
        seconds = int(moment)
        return (self.start or 0) <= seconds and (self.end is None or seconds <= self.end)


def _each_once(items: list[str]) -> list[str]:
    if len(set(items)) < len(items):
        raise ValueError("an id is in it twice")
    return items


class Sandboxes(Query):
    """GET /sandboxes/metrics, whose parameter has no camel case."""

    sandbox_ids: Annotated[
        list[Text],
        Field(alias="sandbox_ids", max_length=100),
        AfterValidator(_each_once),
        BeforeValidator(split),
    ]
