from datetime import timedelta

import pytest
from sqlalchemy import Connection, select, update

from berm.control import history
from berm.control.layers import Layers
from berm.models import Layer
from berm.store.database import Database
from berm.store.schema import layers as table
from tests.store.samples import TEAM, add_teams

ONE, TWO = Layer("one", 1), Layer("two", 2)


@pytest.fixture
async def cache(database: Database) -> Layers:
    await add_teams(database)
    return Layers(database)


def _age(connection: Connection, days: int) -> None:
    for row in connection.execute(select(table)).all():
        values = {"used_at": row.used_at - timedelta(days=days)}
        connection.execute(update(table).where(table.c.key == row.key).values(values))


async def test_what_was_recorded_is_found(cache: Layers) -> None:
    await cache.record("a", TEAM, ONE, 7)
    await cache.record("b", TEAM, Layer("", 0), 9)
    found = await cache.find(["a", "b", "c"])
    assert {key: (kept.layer, kept.duration_ms) for key, kept in found.items()} == {
        "a": (ONE, 7),
        "b": (Layer("", 0), 9),
    }


async def test_a_step_that_wrote_nothing_is_forgotten_with_old_builds(
    cache: Layers, database: Database
) -> None:
    await cache.record("a", TEAM, Layer("", 0), 9)
    await database.run(history.expire, 20, 30)
    assert await cache.find(["a"])
    await database.run(_age, 31)
    await database.run(history.expire, 20, 30)
    assert await cache.find(["a"]) == {}


async def test_a_layer_is_used_while_one_of_its_keys_is(cache: Layers, database: Database) -> None:
    for key, layer in (("a", ONE), ("b", ONE), ("c", TWO)):
        await cache.record(key, TEAM, layer, 7)
    names = ["one", "two", "three"]
    assert await cache.unused(names, 14) == {"three"}
    await database.run(_age, 15)
    await cache.touch(["b"])
    assert await cache.unused(names, 14) == {"two", "three"}
    await cache.forget(["one"])
    assert await cache.unused(names, 14) == set(names)
    assert set(await cache.find(["a", "b", "c"])) == {"c"}
