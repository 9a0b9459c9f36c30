"""What the bodies and queries of different calls have in common."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
Name = Annotated[str, StringConstraints(pattern=r"^[^\x00]+$", max_length=128)]
Variable = Annotated[str, StringConstraints(pattern=r"^[^=\x00]+$")]
Level = Literal["debug", "info", "warn", "error"]
Seconds = Annotated[int, Field(ge=0)]


class Body(BaseModel):
    """Exact types, so "300" is no number. The published schemas are open: unknown fields may be sent."""

    model_config = ConfigDict(strict=True, extra="ignore", alias_generator=to_camel)


class Query(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


def utc(moment: datetime) -> datetime:
    """Raises ValueError for one that is outside of all calendars there."""
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise ValueError("the time is out of range") from None


def millis(moment: datetime) -> float:
    """Since 1970."""
    return moment.timestamp() * 1000


def split(texts: list[str]) -> list[str]:
    """Lists are joined by commas in one parameter; one parameter for each item is fine too."""
    return [item for text in texts for item in text.split(",")]
