import pytest

from berm.store import build_logs, builds, paging, tags
from berm.store import templates as store
from berm.store.builds import BuildLine, Made
from berm.store.database import Database
from berm.templates.plan import Settings
from tests.store.samples import MADE, NOON, OTHER_TEAM, TEAM, add_build, add_teams, add_template, succeed


@pytest.fixture(autouse=True)
async def _teams(database: Database) -> None:
    await add_teams(database)


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


async def test_what_a_build_made(database: Database) -> None:
    build = await succeed(database, await add_build(database, await add_template(database)))
    made = await database.run(store.made, build.build_id)
    assert (made.build_id, made.name, made.layers) == (build.build_id, "base", ("bottom", "top"))
    settings = MADE.settings
    assert (made.env, made.user, made.workdir) == (settings.env, settings.user, settings.workdir)
    assert (made.start_cmd, made.ready_cmd) == ("serve", "curl")


async def test_an_image_that_names_no_user_runs_as_ours(database: Database) -> None:
    build = await add_build(database, await add_template(database))
    await succeed(database, build, Made(("one",), Settings()))
    assert (await database.run(store.made, build.build_id)).user == "user"


async def test_numbers_are_given_once(database: Database) -> None:
    one, two = await add_template(database, "one"), await add_template(database, "two")
    given = [await database.run(store.next_number, t.template_id) for t in (one, one, two)]
    assert given == [1, 2, 1]


async def test_the_number_of_a_trial_is_given_again_unless_a_later_one_was(database: Database) -> None:
    record = await add_template(database)
    for number in (1, 2):
        assert await database.run(store.next_number, record.template_id) == number
    await database.run(store.give_back, record.template_id, 1)
    assert await database.run(store.next_number, record.template_id) == 3
    await database.run(store.give_back, record.template_id, 3)
    assert await database.run(store.next_number, record.template_id) == 3


async def test_what_was_only_tried_is_not_seen(database: Database) -> None:
    record = await add_template(database)
    build = await add_build(database, record)
    await database.run(builds.make_trial, build.build_id)
    await database.run(store.give_back, record.template_id, build.number)
    assert await database.run(store.find, TEAM, "base") is None
    assert not await database.run(store.exists, "base")
    assert (await database.run(store.listing, TEAM, paging.Slice())).items == ()
    assert await database.run(store.find, TEAM, "base", trial=True)
    await add_build(database, record)
    assert await database.run(store.find, TEAM, "base")


async def test_a_template_takes_all_it_has_with_it(database: Database) -> None:
    record = await add_template(database)
    build = await succeed(database, await add_build(database, record))
    await database.run(build_logs.append, build.build_id, [BuildLine(NOON, "line")])
    await database.run(store.remove, record.template_id)
    assert await database.run(builds.find, record.template_id, build.build_id) is None
    assert await database.run(tags.moves, record.template_id) == []
    await database.run(build_logs.append, build.build_id, [BuildLine(NOON, "late")])
    assert await database.run(build_logs.lines, build.build_id, ["info"], 0, 9) == []
