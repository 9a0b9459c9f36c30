import pytest

from berm.models import State
from berm.store import activity as store
from berm.store import sandboxes
from berm.store.activity import KEPT, STEP, Activity
from berm.store.database import Database
from tests.store.samples import MINUTE, NOON, OTHER_TEAM, TEAM, add_teams, sandbox

AT = int(NOON.timestamp()) // STEP * STEP


@pytest.fixture(autouse=True)
async def _teams(database: Database) -> None:
    await add_teams(database)


async def listed(
    database: Database, team_id: str = TEAM, width: int = STEP, count: int = 4
) -> list[Activity]:
    moments = range(AT // width * width, AT + count * STEP, width)
    return await database.run(store.listing, team_id, moments)


async def test_a_step_counts_what_runs_and_what_was_started(database: Database) -> None:
    old, new, brief = sandbox(started_at=NOON - MINUTE), sandbox(), sandbox()
    paused, others = sandbox(state=State.PAUSED), sandbox(team_id=OTHER_TEAM)
    for made in (old, new, brief, paused, others, sandbox(started_at=NOON + MINUTE)):
        await database.run(sandboxes.add, made)
    await database.run(sandboxes.end, brief.sandbox_id, NOON)
    for step in range(2):
        await database.run(store.record, AT + step * STEP)
    # Those that are paused run no longer, nor does the one that began and ended; the last has not begun yet.
    first, second, *rest = await listed(database)
    assert first == Activity(AT, concurrent=2, started=3)
    assert second == Activity(AT + STEP, concurrent=2, started=0)
    assert [(each.concurrent, each.started) for each in rest] == [(0, 0)] * 2
    assert (await listed(database, OTHER_TEAM))[0] == Activity(AT, 1, 1)


async def test_a_step_that_is_counted_again_counts_once(database: Database) -> None:
    await database.run(sandboxes.add, sandbox())
    for _ in range(2):
        await database.run(store.record, AT)
    assert (await listed(database))[0] == Activity(AT, 1, 1)


async def test_wide_steps_have_the_most_and_the_sum(database: Database) -> None:
    for step in range(4):
        await database.run(sandboxes.add, sandbox(started_at=NOON + step * MINUTE / 4))
        await database.run(store.record, AT + step * STEP)
    found = await listed(database, width=2 * STEP)
    assert sum(each.started for each in found) == 4
    assert max(each.concurrent for each in found) == 4
    assert all(each.at % (2 * STEP) == 0 for each in found)


async def test_the_most_is_the_first_of_several(database: Database) -> None:
    assert await database.run(store.most, TEAM, "started", AT, AT + 1000) is None
    await database.run(sandboxes.add, sandbox())
    for step in range(2):
        await database.run(store.record, AT + step * STEP)
    assert await database.run(store.most, TEAM, "concurrent", AT, AT + 1000) == Activity(AT, 1, 1)
    assert await database.run(store.most, TEAM, "started", AT + 1, AT + 1000) == Activity(AT + STEP, 1, 0)
    assert await database.run(store.most, TEAM, "concurrent", AT + 2 * STEP, AT + 1000) is None


async def test_what_is_old_is_forgotten(database: Database) -> None:
    await database.run(sandboxes.add, sandbox())
    await database.run(store.record, AT)
    await database.run(store.record, AT + KEPT + STEP)
    assert (await listed(database))[0] == Activity(AT, 0, 0)
