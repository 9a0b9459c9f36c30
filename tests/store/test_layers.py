import pytest

from berm.models import Layer
from berm.store import builds, sandboxes
from berm.store import layers as store
from berm.store.builds import Made
from berm.store.database import Database
from berm.store.layers import CachedLayer
from berm.templates.plan import Settings
from tests.store.samples import MINUTE, NOON, TEAM, add_build, add_teams, add_template, sandbox, succeed

ONE = CachedLayer(Layer("one", 5_000_000_000), 7, NOON)


@pytest.fixture(autouse=True)
async def _teams(database: Database) -> None:
    await add_teams(database)


async def test_a_key_stands_for_the_layer_that_was_recorded_last(database: Database) -> None:
    await database.run(store.record, "key", TEAM, ONE)
    assert await database.run(store.find, ["key", "other"]) == {"key": ONE}
    other = CachedLayer(Layer("", 0), 9, NOON + MINUTE)
    await database.run(store.record, "key", TEAM, other)
    assert await database.run(store.find, ["key"]) == {"key": other}
    assert await database.run(store.find, []) == {}


async def test_a_layer_is_forgotten_under_all_its_keys(database: Database) -> None:
    for key in ("a", "b"):
        await database.run(store.record, key, TEAM, ONE)
    await database.run(store.forget, ["two", ""])
    assert len(await database.run(store.find, ["a", "b"])) == 2
    await database.run(store.forget, ["one"])
    assert await database.run(store.find, ["a", "b"]) == {}


async def test_a_key_refers_to_its_layer_while_it_is_used(database: Database) -> None:
    await database.run(store.record, "key", TEAM, ONE)
    assert await database.run(store.referred, NOON) == {"one"}
    assert await database.run(store.referred, NOON + MINUTE) == set()
    await database.run(store.touch, ["key"], NOON + MINUTE)
    assert await database.run(store.referred, NOON + MINUTE) == {"one"}


async def test_builds_and_live_sandboxes_refer_to_their_layers(database: Database) -> None:
    record = await add_template(database)
    await succeed(database, await add_build(database, record), Made(("built",), Settings()))
    trial = await add_build(database, record)
    await database.run(builds.make_trial, trial.build_id)
    await database.run(builds.succeed, trial.build_id, Made(("tried",), Settings()), NOON)
    live, ended = sandbox(layers=("live", "base")), sandbox(layers=("ended",))
    for each in (live, ended):
        await database.run(sandboxes.add, each)
    await database.run(sandboxes.end, ended.sandbox_id, NOON)
    assert await database.run(store.referred, NOON) == {"built", "live", "base"}


async def test_keys_without_a_layer_are_forgotten_when_nobody_uses_them(database: Database) -> None:
    await database.run(store.record, "empty", TEAM, CachedLayer(Layer("", 0), 1, NOON))
    await database.run(store.record, "full", TEAM, ONE)
    await database.run(store.forget_empty, NOON)
    assert len(await database.run(store.find, ["empty", "full"])) == 2
    await database.run(store.forget_empty, NOON + MINUTE)
    assert list(await database.run(store.find, ["empty", "full"])) == ["full"]
