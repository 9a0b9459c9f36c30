from dataclasses import replace

import pytest

from berm.models import Volume, VolumeMount
from berm.store import sandboxes
from berm.store import volumes as store
from berm.store.database import Database
from tests.store.samples import MINUTE, NOON, OTHER_TEAM, TEAM, add_teams, sandbox

ONE = Volume("v1", TEAM, "one", "token-1", NOON)
TWO = Volume("v2", TEAM, "two", "token-2", NOON + MINUTE)
THEIRS = Volume("v3", OTHER_TEAM, "one", "token-3", NOON)


@pytest.fixture(autouse=True)
async def _volumes(database: Database) -> None:
    await add_teams(database)
    for volume in (TWO, ONE, THEIRS):
        assert await database.run(store.add, volume)


async def test_a_team_finds_its_own(database: Database) -> None:
    assert await database.run(store.listing, TEAM) == [ONE, TWO]
    assert await database.run(store.listing, OTHER_TEAM) == [THEIRS]
    assert await database.run(store.find, TEAM, "v2") == TWO
    assert await database.run(store.find, OTHER_TEAM, "v2") is None
    assert await database.run(store.named, TEAM, {"one", "none"}) == {"one": ONE}
    assert await database.run(store.ids) == {"v1", "v2", "v3"}
    assert await database.run(store.token, "v3") == "token-3"
    assert await database.run(store.token, "none") is None
    assert "token-1" not in repr(ONE)


async def test_a_name_is_a_teams_once(database: Database) -> None:
    assert not await database.run(store.add, replace(ONE, volume_id="v4"))
    assert await database.run(store.add, replace(THEIRS, volume_id="v5", name="two"))
    assert await database.run(store.ids) == {"v1", "v2", "v3", "v5"}


async def test_one_goes_when_nothing_has_it_mounted(database: Database) -> None:
    mounts = (VolumeMount("two", "/b"), VolumeMount("one", "/a"))
    made = replace(sandbox(), volume_mounts=mounts)
    await database.run(sandboxes.add, made)
    await database.run(sandboxes.add, replace(sandbox(OTHER_TEAM), volume_mounts=mounts))
    await database.run(sandboxes.add, sandbox())
    found = await database.run(sandboxes.find, TEAM, made.sandbox_id, NOON)
    assert found is not None
    assert found.volume_mounts == mounts
    assert await database.run(store.remove, ONE, NOON) == [made.sandbox_id]
    assert await database.run(store.find, TEAM, "v1") == ONE
    assert await database.run(store.remove, ONE, made.end_at) == []
    assert await database.run(store.find, TEAM, "v1") is None
    assert await database.run(store.remove, ONE, made.end_at) is None
    await database.run(sandboxes.end, made.sandbox_id, NOON)
    assert await database.run(store.remove, TWO, NOON) == []
    assert await database.run(store.ids) == {"v3"}
