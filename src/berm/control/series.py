"""The samples of one sandbox over its whole life, in little memory."""

import base64
from array import array
from collections.abc import Iterator, Mapping
from typing import Final

from berm.models import Usage

_RECENT: Final = 180
"""Samples that are kept as they came: of every five seconds, a quarter of an hour."""

_LIFE: Final = 240
"""Samples that are kept of the whole life: when there are more, every other one goes."""

_FIELDS: Final = 5


class Series:
    """The samples of one sandbox, 40 bytes each, at most 420: all of the last, and fewer of long ago."""

    def __init__(self) -> None:
        self._recent = array("d")
        self._life = array("d")
        self._every = 1
        self._skipped = 0

    def __len__(self) -> int:
        return len(self._recent) // _FIELDS

    def add(self, usage: Usage) -> None:
        """Nothing happens if it is the last once more."""
        values = _values(usage)
        if tuple(self._recent[-_FIELDS:]) == values:
            return
        self._recent.extend(values)
        if len(self) > _RECENT:
            del self._recent[:_FIELDS]
        self._skipped += 1
        if self._skipped >= self._every:
            self._skipped = 0
            self._life.extend(values)
        if len(self._life) > _LIFE * _FIELDS:
            self._thin()

    def _thin(self) -> None:
        kept = [usage for number, usage in enumerate(_samples(self._life)) if number % 2 == 0]
        self._life = array("d", (value for usage in kept for value in _values(usage)))
        self._every *= 2

    def samples(self) -> list[Usage]:
        """In order of time; processor time adds up, so that what was left out is in the next sample."""
        recent = list(_samples(self._recent))
        return [old for old in _samples(self._life) if old.at < recent[0].at] + recent if recent else []

    def to_json(self) -> dict[str, str | int]:
        arrays = {"recent": self._recent, "life": self._life}
        encoded = {name: base64.b64encode(values.tobytes()).decode() for name, values in arrays.items()}
        return {**encoded, "every": self._every}

    @classmethod
    def from_json(cls, record: Mapping[str, str | int]) -> "Series":
        """Raises KeyError, TypeError, ValueError for what `to_json` did not make."""
        series = cls()
        series._recent.frombytes(base64.b64decode(str(record["recent"])))
        series._life.frombytes(base64.b64decode(str(record["life"])))
        series._every = int(record["every"])
        if len(series._recent) % _FIELDS or len(series._life) % _FIELDS:
            raise ValueError("a sample is cut short")
        return series


def _values(usage: Usage) -> tuple[float, ...]:
    return (usage.at, usage.cpu_seconds, usage.memory, usage.cache, usage.disk)


def _samples(values: "array[float]") -> Iterator[Usage]:
    for at in range(0, len(values), _FIELDS):
        moment, cpu_seconds, memory, cache, disk = values[at : at + _FIELDS]
        yield Usage(moment, cpu_seconds, int(memory), int(cache), int(disk))
