"""What goes on in teams, over time: how many sandboxes run, and how many are started."""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Final

from berm.control.tasks import Tasks
from berm.errors import BermError, Code
from berm.models import Principal
from berm.store import activity as store
from berm.store.activity import KEPT, STEP, Activity, Metric
from berm.store.database import Database

_MOST: Final = 720
"""Moments in one answer: a longer range has them further apart."""

_USUAL: Final = 24 * 3600
"""Seconds before the end of a range that has no beginning."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Moment:
    """What went on then; the rate is sandboxes a second, over the time to the next moment."""

    at: int
    concurrent: int
    start_rate: float


class Activities:
    """Counted every STEP and kept for KEPT; while no server runs nothing is counted."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tasks = Tasks()

    async def start(self) -> None:
        self._tasks.spawn(self._run())

    async def close(self) -> None:
        await self._tasks.cancel()

    async def of(self, who: Principal, team_id: str, begin: int | None, end: int | None) -> list[Moment]:
        """What went on in a team. Raises BermError PERMISSION_DENIED for another's."""
        _check(who, team_id)
        first, last = _range(begin, end)
        width = STEP * max(1, -(-(last - first) // (STEP * _MOST)))
        moments = range(-(-first // width) * width, last, width)
        found = await self._database.run(store.listing, team_id, moments)
        return [_moment(activity, width) for activity in found]

    async def most(
        self, who: Principal, team_id: str, metric: Metric, begin: int | None, end: int | None
    ) -> Moment:
        """The moment with most of something, in the smallest steps there are. Raises what `of` raises."""
        _check(who, team_id)
        first, last = _range(begin, end)
        found = await self._database.run(store.most, team_id, metric, first, last)
        return _moment(found or Activity(first, 0, 0), STEP)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(STEP - time.time() % STEP)
            try:
                await self._database.run(store.record, int(time.time()) // STEP * STEP - STEP)
            except BermError:
                log.exception("what went on in the last %d s is not recorded", STEP)


def _check(who: Principal, team_id: str) -> None:
    if team_id != who.team_id:
        raise BermError(
            Code.PERMISSION_DENIED, "this is not the team that the API key is of", "GET /teams tells its id"
        )


def _range(begin: int | None, end: int | None) -> tuple[int, int]:
    """From the first to before the last second, as far as anything can be known of them."""
    now = int(time.time())
    last = min(now if end is None else end, now) + 1
    first = last - _USUAL if begin is None else begin
    return min(max(first, now - KEPT), last), last


def _moment(activity: Activity, width: int) -> Moment:
    return Moment(activity.at, activity.concurrent, activity.started / width)
