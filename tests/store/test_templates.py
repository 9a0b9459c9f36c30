import pytest

from berm import ids
from berm.models import Resources
from berm.store import builds, paging
from berm.store import templates as store
from berm.store.builds import Build, BuildLine, Made, Status
from berm.store.database import Database
from berm.store.templates import Record
from tests.store.samples import MINUTE, NOON, OTHER_TEAM, TEAM, add_teams

MADE = Made(("bottom", "top"), {"A": "b"}, "user", "/work")


@pytest.fixture(autouse=True)
async def _teams(database: Database) -> None:
    await add_teams(database)


async def add_template(database: Database, name: str, team_id: str = TEAM, public: bool = False) -> Record:
    record = Record(ids.template_id(), team_id, name, public, NOON, NOON)
    await database.run(store.add, record)
    return record


async def add_build(database: Database, record: Record, minute: int = 0, tag: str = "default") -> Build:
    at = NOON + minute * MINUTE
    build = Build(ids.build_id(), record.template_id, Status.WAITING, (tag,), Resources(), at, at)
    await database.run(builds.add, build)
    return build


async def succeed(database: Database, build: Build) -> None:
    assert await database.run(builds.succeed, build.build_id, MADE, NOON)
    await database.run(store.point, build, NOON)


async def test_a_team_sees_its_own_templates_and_public_ones(database: Database) -> None:
    own = await add_template(database, "own")
    public = await add_template(database, "public", OTHER_TEAM, public=True)
    await add_template(database, "hidden", OTHER_TEAM)
    assert await database.run(store.find, TEAM, "own") == own
    assert await database.run(store.find, TEAM, own.template_id) == own
    assert await database.run(store.find, TEAM, "public") == public
    assert await database.run(store.find_own, TEAM, "public") is None
    assert await database.run(store.find, TEAM, "hidden") is None
    assert await database.run(store.exists, "hidden")
    assert not await database.run(store.exists, "none")


async def test_a_teams_own_template_hides_a_public_one(database: Database) -> None:
    await add_template(database, "base", OTHER_TEAM, public=True)
    own = await add_template(database, "base")
    assert await database.run(store.find, TEAM, "base") == own


async def test_a_tag_stands_for_the_last_build_that_was_pointed_to(database: Database) -> None:
    record = await add_template(database, "base")
    first, second = await add_build(database, record), await add_build(database, record, 1)
    assert await database.run(store.tagged, record.template_id, "default") is None
    await succeed(database, first)
    await succeed(database, second)
    template = await database.run(store.tagged, record.template_id, "default")
    assert template is not None
    assert (template.build_id, template.name, template.layers) == (second.build_id, "base", MADE.layers)
    assert (template.env, template.user, template.workdir) == (MADE.env, MADE.user, MADE.workdir)
    assert await database.run(store.tagged, record.template_id, "other") is None


async def test_a_finished_build_stays_as_it_is(database: Database) -> None:
    build = await add_build(database, await add_template(database, "base"))
    assert await database.run(builds.start, build.build_id, NOON)
    assert not await database.run(builds.start, build.build_id, NOON)
    assert await database.run(builds.fail, build.build_id, "broken", "2", NOON + MINUTE)
    assert not await database.run(builds.succeed, build.build_id, MADE, NOON)
    failed = await database.run(builds.find, build.template_id, build.build_id)
    assert failed is not None
    assert (failed.status, failed.reason, failed.reason_step) == (Status.ERROR, "broken", "2")
    assert failed.finished_at == NOON + MINUTE


async def test_unfinished_builds_can_be_failed_together(database: Database) -> None:
    record = await add_template(database, "base")
    ready, waiting = await add_build(database, record), await add_build(database, record, 1)
    await succeed(database, ready)
    await database.run(builds.fail_unfinished, "stopped", NOON)
    page = await database.run(builds.listing, record.template_id, paging.Slice())
    assert [(b.build_id, b.status) for b in page.items] == [
        (waiting.build_id, Status.ERROR),
        (ready.build_id, Status.READY),
    ]


async def test_a_summary_prefers_the_newest_build_that_is_ready(database: Database) -> None:
    record = await add_template(database, "base")
    first = await add_build(database, record)
    second = await add_build(database, record, 1)
    assert (await database.run(store.summary, record.template_id)).build.build_id == second.build_id
    await succeed(database, first)
    summary = await database.run(store.summary, record.template_id)
    assert (summary.build.build_id, summary.build_count) == (first.build_id, 2)
    listing = await database.run(store.listing, TEAM, paging.Slice())
    assert listing.items == (summary,)


async def test_log_lines_are_read_from_an_offset_and_by_level(database: Database) -> None:
    build = await add_build(database, await add_template(database, "base"))
    lines = [BuildLine(NOON, str(n), level) for n, level in enumerate(["info", "error", "info"])]
    await database.run(builds.log, build.build_id, lines[:1])
    await database.run(builds.log, build.build_id, [])
    await database.run(builds.log, build.build_id, lines[1:])
    assert await database.run(builds.lines, build.build_id, ["info", "error"], 0, 100) == lines
    assert await database.run(builds.lines, build.build_id, ["info", "error"], 1, 1) == lines[1:2]
    assert await database.run(builds.lines, build.build_id, ["info"], 1, 100) == lines[2:]
    assert await database.run(builds.lines, build.build_id, ["info"], 3, 100) == []
