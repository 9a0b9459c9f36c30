from dataclasses import replace

import pytest

from berm.store import paging
from berm.store import secrets as store
from berm.store.database import Database
from berm.store.secrets import Sealed, Secret
from tests.store.samples import MINUTE, NOON, OTHER_TEAM, TEAM, add_teams

SECRET = Secret("sec_1", TEAM, "token", 1, {"a": "b"}, NOON, NOON)
SEALED = Sealed(b"\0\xff", "key-1")


@pytest.fixture(autouse=True)
async def _teams(database: Database) -> None:
    await add_teams(database)


async def test_a_secret_is_found_by_id_and_by_name_of_its_team(database: Database) -> None:
    assert await database.run(store.add, SECRET, SEALED)
    assert await database.run(store.find, TEAM, "sec_1") == (SECRET, SEALED)
    assert await database.run(store.find, TEAM, "token") == (SECRET, SEALED)
    assert await database.run(store.find, TEAM, "none") is None
    assert await database.run(store.find, OTHER_TEAM, "sec_1") is None
    assert await database.run(store.find, OTHER_TEAM, "token") is None


async def test_a_name_is_taken_once_by_each_team(database: Database) -> None:
    assert await database.run(store.add, SECRET, SEALED)
    assert not await database.run(store.add, replace(SECRET, secret_id="sec_2"), SEALED)
    assert await database.run(store.add, replace(SECRET, secret_id="sec_3", team_id=OTHER_TEAM), SEALED)


async def test_a_new_version_takes_the_place_of_the_old(database: Database) -> None:
    await database.run(store.add, SECRET, SEALED)
    new = replace(SECRET, version=2, metadata={}, updated_at=NOON + MINUTE)
    await database.run(store.replace, new, Sealed(b"new", "key-2"))
    assert await database.run(store.find, TEAM, "token") == (new, Sealed(b"new", "key-2"))
    assert await database.run(store.seals) == {"key-2"}


async def test_secrets_are_listed_page_by_page_newest_first(database: Database) -> None:
    made = [
        replace(SECRET, secret_id=f"sec_{n}", name=f"name-{n}", created_at=NOON + n * MINUTE)
        for n in range(3)
    ]
    for secret in made:
        await database.run(store.add, secret, SEALED)
    await database.run(store.add, replace(SECRET, secret_id="other", team_id=OTHER_TEAM), SEALED)
    first = await database.run(store.listing, TEAM, paging.Slice(limit=2))
    assert first.items == (made[2], made[1])
    rest = await database.run(store.listing, TEAM, paging.Slice(limit=2, after=first.next))
    assert (rest.items, rest.next) == ((made[0],), None)


async def test_only_its_team_can_remove_a_secret(database: Database) -> None:
    await database.run(store.add, SECRET, SEALED)
    assert not await database.run(store.remove, OTHER_TEAM, "token")
    assert await database.run(store.remove, TEAM, "token")
    assert not await database.run(store.remove, TEAM, "token")
    assert await database.run(store.seals) == set()
