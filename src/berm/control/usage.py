"""What sandboxes used, over their whole lives: sampled from the node, kept in memory."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from pathlib import Path
from time import monotonic
from typing import Final

from berm.control.series import Series
from berm.control.states import now
from berm.control.tasks import Tasks
from berm.models import Resources, Usage
from berm.node.interface import Node
from berm.store import sandboxes as store
from berm.store.database import Database

TICK: Final = 1.0
"""Seconds between two looks at which sandboxes are due."""

PERIOD: Final = 5.0
"""Seconds between two samples of a sandbox; the second comes at once, as it takes two to tell the CPU's."""

_SWEEP_TICKS: Final = 60
_MIB: Final = 1 << 20

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a sandbox used of what it may use; sizes in bytes, none larger than its total."""

    at: float
    """Seconds since 1970."""
    cpu_count: int
    cpu_percent: float
    """Since the sample before, of all its processors together: 0 to 100."""
    memory: int
    memory_total: int
    cache: int
    disk: int
    disk_total: int


def measurements(samples: Sequence[Usage], resources: Resources) -> list[Measurement]:
    """One for each sample but the first, which only tells where the processor time began."""
    return [_measurement(before, after, resources) for before, after in pairwise(samples)]


def _measurement(before: Usage, after: Usage, resources: Resources) -> Measurement:
    memory, disk = resources.memory_mb * _MIB, resources.disk_mb * _MIB
    # A sandbox whose processes were ended and begun anew counts from zero again.
    used = after.cpu_seconds - (before.cpu_seconds if after.cpu_seconds >= before.cpu_seconds else 0)
    percent = 100 * used / max(after.at - before.at, 0.001) / resources.cpu_count
    return Measurement(
        at=after.at,
        cpu_count=resources.cpu_count,
        cpu_percent=round(min(max(percent, 0.0), 100.0), 2),
        memory=min(after.memory, memory),
        memory_total=memory,
        cache=min(after.cache, memory),
        disk=min(after.disk, disk),
        disk_total=disk,
    )


class Sampler:
    """Measures every sandbox that runs, about every PERIOD, in a thread of the node's.

    A server that is stopped writes its samples to `file`, and the next one goes on from there. They are not
    in the database: a thousand sandboxes would write two hundred rows a second.
    """

    def __init__(self, node: Node, database: Database, file: Path) -> None:
        self._node = node
        self._database = database
        self._file = file
        self._series: dict[str, Series] = {}
        self._sampled: dict[str, float] = {}
        self._tasks = Tasks()

    async def start(self) -> None:
        self._series = await asyncio.to_thread(_load, self._file)
        await self.sweep()
        self._tasks.spawn(self._run())

    async def close(self) -> None:
        await self._tasks.cancel()
        await asyncio.to_thread(_save, self._file, self._series)

    def samples(self, sandbox_id: str) -> list[Usage]:
        """In order of time; none of a sandbox that was never sampled. Asks memory only."""
        series = self._series.get(sandbox_id)
        return series.samples() if series else []

    async def sample(self, sandbox_ids: Collection[str]) -> None:
        """Measure these now."""
        self._sampled.update(dict.fromkeys(sandbox_ids, monotonic()))
        for sandbox_id, usage in (await self._node.usage(sandbox_ids)).items():
            self._series.setdefault(sandbox_id, Series()).add(usage)

    async def sweep(self) -> None:
        """Forget sandboxes that are over; those that are paused are not."""
        live = await self._database.run(store.all_live, now())
        known = self._series.keys() | self._sampled.keys()
        for sandbox_id in known - live - self._node.running().keys():
            self._series.pop(sandbox_id, None)
            self._sampled.pop(sandbox_id, None)

    async def _run(self) -> None:
        ticks = 0
        while True:
            with _reported():
                await self.sample(list(self._due(monotonic())))
                ticks += 1
                if ticks % _SWEEP_TICKS == 0:
                    await self.sweep()
            await asyncio.sleep(TICK)

    def _due(self, moment: float) -> Iterable[str]:
        for sandbox_id in self._node.running():
            series = self._series.get(sandbox_id)
            wait = PERIOD if series and len(series) > 1 else TICK
            # Half a tick early is nearer to the period than half a tick late.
            if moment - self._sampled.get(sandbox_id, -inf) >= wait - TICK / 2:
                yield sandbox_id


@contextlib.contextmanager
def _reported() -> Iterator[None]:
    """One round that fails is no reason for there to be no next one."""
    try:
        yield
    except Exception:
        log.exception("could not measure what sandboxes use")


def _save(file: Path, series: Mapping[str, Series]) -> None:
    fresh = file.with_suffix(".new")
    with fresh.open("w") as out:
        fresh.chmod(0o600)
        for sandbox_id, own in series.items():
            out.write(json.dumps({"sandbox": sandbox_id, **own.to_json()}) + "\n")
    fresh.rename(file)


def _load(file: Path) -> dict[str, Series]:
    try:
        records = [json.loads(line) for line in file.read_text().splitlines()]
        return {str(record["sandbox"]): Series.from_json(record) for record in records}
    except FileNotFoundError:
        return {}
    except (KeyError, TypeError, ValueError) as error:
        log.warning("what sandboxes used before is lost: %s cannot be read: %r", file, error)
        return {}
