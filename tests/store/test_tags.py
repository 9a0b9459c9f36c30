import pytest

from berm.store import tags as store
from berm.store.database import Database
from berm.store.tags import Move, Tag
from tests.store.samples import MINUTE, NOON, add_build, add_teams, add_template, succeed


@pytest.fixture(autouse=True)
async def _teams(database: Database) -> None:
    await add_teams(database)


async def test_a_tag_stands_for_the_last_build_that_was_pointed_to(database: Database) -> None:
    record = await add_template(database)
    first, second = await add_build(database, record), await add_build(database, record, 1)
    assert await database.run(store.build_id, record.template_id, "default") is None
    await succeed(database, first)
    await succeed(database, second)
    assert await database.run(store.build_id, record.template_id, "default") == second.build_id
    assert await database.run(store.build_id, record.template_id, "other") is None
    assert await database.run(store.listing, record.template_id) == [
        Tag("default", second.build_id, 2, NOON + MINUTE)
    ]


async def test_every_move_is_remembered(database: Database) -> None:
    record = await add_template(database)
    first = await succeed(database, await add_build(database, record))
    await database.run(store.point, first, ["x"], NOON, "someone")
    await database.run(store.remove, record.template_id, ["x", "default"], NOON, "other")
    assert await database.run(store.moves, record.template_id, "x") == [
        Move("x", first.build_id, 1, NOON, "someone"),
        Move("x", None, None, NOON, "other"),
    ]
    assert len(await database.run(store.moves, record.template_id)) == 4
    assert await database.run(store.listing, record.template_id) == []
    assert await database.run(store.highest, record.template_id, "x") == 1
    assert await database.run(store.highest, record.template_id, "y") == 0


async def test_no_tags_are_no_move(database: Database) -> None:
    record = await add_template(database)
    first = await succeed(database, await add_build(database, record))
    await database.run(store.point, first, [], NOON, "")
    assert len(await database.run(store.moves, record.template_id)) == 1
