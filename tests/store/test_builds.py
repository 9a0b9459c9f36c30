import pytest

from berm.store import builds, paging, tallies
from berm.store.builds import Cause, Failure, Status
from berm.store.database import Database
from berm.store.tallies import Tally
from tests.store.samples import (
    MADE,
    MINUTE,
    NOON,
    OTHER_TEAM,
    STEPS,
    TEAM,
    add_build,
    add_teams,
    add_template,
    succeed,
)


@pytest.fixture(autouse=True)
async def _teams(database: Database) -> None:
    await add_teams(database)


async def test_what_a_build_made_is_found_unchanged(database: Database) -> None:
    build = await succeed(database, await add_build(database, await add_template(database)))
    found = await database.run(builds.find, build.template_id, build.build_id)
    assert found == build
    assert (build.layers, build.settings, build.steps) == (MADE.layers, MADE.settings, MADE.steps)
    assert (build.digest, build.size) == (MADE.digest, MADE.size)
    assert (build.number, build.trial, build.duration_ms) == (1, False, 0)
    assert await database.run(builds.numbered, build.template_id, 1) == build
    assert await database.run(builds.numbered, build.template_id, 2) is None


async def test_steps_are_recorded_until_the_end(database: Database) -> None:
    build = await add_build(database, await add_template(database))
    assert await database.run(builds.record_steps, build.build_id, STEPS[:1], NOON)
    failed = await database.run(builds.fail, build.build_id, Failure("broken"), NOON)
    assert failed is not None
    assert failed.steps == STEPS[:1]
    assert not await database.run(builds.record_steps, build.build_id, STEPS, NOON)


async def test_a_finished_build_stays_as_it_is(database: Database) -> None:
    build = await add_build(database, await add_template(database))
    assert await database.run(builds.start, build.build_id, NOON)
    assert not await database.run(builds.start, build.build_id, NOON)
    assert await database.run(
        builds.fail, build.build_id, Failure("broken", "2", Cause.TIMEOUT), NOON + MINUTE
    )
    assert not await database.run(builds.succeed, build.build_id, MADE, NOON)
    failed = await database.run(builds.find, build.template_id, build.build_id)
    assert failed is not None
    assert (failed.status, failed.reason, failed.reason_step) == (Status.ERROR, "broken", "2")
    assert (failed.cause, failed.started_at, failed.duration_ms) == (Cause.TIMEOUT, NOON, 60_000)
    assert failed.finished_at == NOON + MINUTE


async def test_unfinished_builds_can_be_failed_together(database: Database) -> None:
    record = await add_template(database)
    ready, waiting = await add_build(database, record), await add_build(database, record, 1)
    await succeed(database, ready)
    await database.run(builds.fail_unfinished, "stopped", NOON)
    page = await database.run(builds.listing, record.template_id, paging.Slice())
    assert [(b.build_id, b.status) for b in page.items] == [
        (waiting.build_id, Status.ERROR),
        (ready.build_id, Status.READY),
    ]
    assert [b.cause for b in page.items] == [Cause.INTERRUPTED, None]


async def test_trials_are_in_no_list(database: Database) -> None:
    record = await add_template(database)
    trial, other = await add_build(database, record), await add_build(database, record, 1)
    await database.run(builds.make_trial, trial.build_id)
    assert await database.run(builds.succeed, trial.build_id, MADE, NOON)
    page = await database.run(builds.listing, record.template_id, paging.Slice())
    assert [b.build_id for b in page.items] == [other.build_id]
    assert await database.run(builds.newest_ready, record.template_id) is None
    assert await database.run(tallies.listing, TEAM, 9) == []


async def test_the_newest_ready_build_has_the_highest_number(database: Database) -> None:
    record = await add_template(database)
    first, second = await add_build(database, record), await add_build(database, record)
    await add_build(database, record)
    await succeed(database, second)
    await succeed(database, first)
    newest = await database.run(builds.newest_ready, record.template_id)
    assert newest is not None
    assert newest.build_id == second.build_id


async def test_ends_are_counted_by_template_and_outcome(database: Database) -> None:
    ours, theirs = await add_template(database), await add_template(database, "own", OTHER_TEAM)
    for _ in range(2):
        await succeed(database, await add_build(database, ours))
    for record in (ours, theirs):
        build = await add_build(database, record)
        assert await database.run(builds.fail, build.build_id, Failure("x", None, Cause.TIMEOUT), NOON)
    assert await database.run(tallies.listing, TEAM, 9) == [
        Tally("timeout", 1, 0, 0, ""),
        Tally("ready", 2, 2, 2, "base"),
        Tally("timeout", 1, 0, 0, "base"),
    ]
    assert [tally.builds for tally in await database.run(tallies.listing, TEAM, 0)] == [2, 2]


async def test_the_oldest_templates_keep_their_names_in_the_counts(database: Database) -> None:
    for minute, name in enumerate(("old", "new")):
        await succeed(database, await add_build(database, await add_template(database, name), minute))
    assert [t.template for t in await database.run(tallies.listing, TEAM, 1)] == ["", "old"]
