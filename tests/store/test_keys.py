from dataclasses import replace

import pytest

from berm.models import ApiKey, Credential, Principal
from berm.store import keys as store
from berm.store.database import Database
from tests.store.samples import MINUTE, NOON, OTHER_TEAM, TEAM, add_teams

KEY = ApiKey("key-1", TEAM, "one", "e2b_ab", "wxyz", 44, NOON)


@pytest.fixture(autouse=True)
async def _teams(database: Database) -> None:
    await add_teams(database)


async def test_a_key_is_known_by_its_digest(database: Database) -> None:
    assert not await database.run(store.any_key)
    await database.run(store.add, KEY, "digest")
    assert await database.run(store.any_key)
    assert await database.run(store.principal, "digest") == Principal(TEAM, "key-1")
    assert await database.run(store.principal, "other") is None
    assert await database.run(store.listing, TEAM) == [KEY]
    assert await database.run(store.listing, OTHER_TEAM) == []


async def test_an_access_token_is_no_key(database: Database) -> None:
    token = replace(KEY, key_id="token-1", kind=Credential.ACCESS_TOKEN)
    await database.run(store.add, token, "digest")
    assert await database.run(store.principal, "digest") == Principal(
        TEAM, "token-1", Credential.ACCESS_TOKEN
    )
    assert not await database.run(store.any_key)
    assert await database.run(store.listing, TEAM) == []
    assert await database.run(store.rename, TEAM, "token-1", "two") is None
    assert not await database.run(store.remove, TEAM, "token-1")
    assert await database.run(store.remove, TEAM, "token-1", Credential.ACCESS_TOKEN)


async def test_use_and_name_are_recorded(database: Database) -> None:
    await database.run(store.add, KEY, "digest")
    await database.run(store.used, "key-1", NOON + MINUTE)
    renamed = await database.run(store.rename, TEAM, "key-1", "two")
    assert renamed is not None
    assert (renamed.name, renamed.last_used) == ("two", NOON + MINUTE)
    assert await database.run(store.rename, OTHER_TEAM, "key-1", "three") is None


async def test_only_its_team_can_remove_a_key(database: Database) -> None:
    await database.run(store.add, KEY, "digest")
    assert not await database.run(store.remove, OTHER_TEAM, "key-1")
    assert await database.run(store.remove, TEAM, "key-1")
    assert not await database.run(store.remove, TEAM, "key-1")
    assert await database.run(store.principal, "digest") is None
