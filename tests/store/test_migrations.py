"""What an older berm has recorded is there after an upgrade."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Connection, text

from berm.models import Credential, Principal
from berm.store import build_logs, builds, keys, paging, sandboxes, tags, teams, volumes
from berm.store import templates as store
from berm.store.database import Database, migrate
from berm.store.tags import Move, Tag
from tests.store.samples import MINUTE, NOON, TEAM

_OLD = (
    "INSERT INTO teams VALUES (:team, 'one', :noon)",
    "INSERT INTO api_keys VALUES ('k', :team, 'one', 'digest', 'e2b_ab', 'wxyz', 44, :noon, NULL)",
    "INSERT INTO templates VALUES ('t', :team, 'base', true, :noon, :noon, NULL, 0)",
    "INSERT INTO templates VALUES ('empty', :team, 'empty', true, :noon, :noon, NULL, 0)",
    """INSERT INTO builds VALUES ('b2', 't', 'ready', '["default"]', 1, 512, 2048, 9, '["new"]', '{"A": "2"}',
        'user', '/w', NULL, NULL, :later, :later, :later)""",
    """INSERT INTO builds VALUES ('b1', 't', 'ready', '["default"]', 1, 512, 2048, 9, '["old"]', '{"A": "1"}',
        'user', '', NULL, NULL, :noon, :noon, :noon)""",
    """INSERT INTO builds VALUES ('b3', 't', 'error', '["default"]', 1, 512, 2048, 9, '[]', '{}',
        '', '', 'broken', '1', :later, :later, :later)""",
    "INSERT INTO build_logs VALUES ('b1', 0, :noon, 'info', 'line', NULL)",
    "INSERT INTO tags VALUES ('t', 'default', 'b2', :later)",
    """INSERT INTO sandboxes VALUES ('old', :team, 't', 'base', 'running', :noon, :end, NULL,
        1, 512, 2048, 9, '{}', NULL, NULL, NULL, NULL)""",
    """INSERT INTO sandboxes VALUES ('new', :team, 't', 'base', 'running', :later, :end, NULL,
        1, 512, 2048, 9, '{}', NULL, NULL, NULL, NULL)""",
)


@pytest.fixture
async def upgraded(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    await database.run(migrate, "0001")
    await database.run(_fill)
    await database.start()
    yield database
    await database.close()


def _fill(connection: Connection) -> None:
    times = {"noon": NOON, "later": NOON + MINUTE, "end": NOON + 60 * MINUTE}
    values = {name: time.isoformat(" ").removesuffix("+00:00") for name, time in times.items()}
    for statement in _OLD:
        connection.execute(text(statement), {"team": TEAM, **values})


async def test_a_team_has_no_limits_of_its_own_and_keys_stay_keys(upgraded: Database) -> None:
    assert await upgraded.run(teams.find_team, TEAM) == teams.Team(TEAM, "one", NOON)
    assert await upgraded.run(keys.principal, "digest") == Principal(TEAM, "k", Credential.API_KEY)


async def test_builds_get_numbers_in_order_of_creation(upgraded: Database) -> None:
    page = await upgraded.run(builds.listing, "t", paging.Slice(newest_first=False))
    assert [(build.build_id, build.number) for build in page.items] == [("b1", 1), ("b2", 2), ("b3", 3)]
    assert [await upgraded.run(store.next_number, name) for name in ("t", "empty")] == [4, 1]


async def test_what_a_build_made_is_kept(upgraded: Database) -> None:
    made = await upgraded.run(store.made, "b2")
    assert (made.layers, made.env, made.user, made.workdir) == (("new",), {"A": "2"}, "user", "/w")
    assert (made.start_cmd, made.ready_cmd, made.created_at) == ("", "", NOON + MINUTE)
    assert [line.message for line in await upgraded.run(build_logs.lines, "b1", ["info"], 0, 9)] == ["line"]


async def test_tags_begin_their_history(upgraded: Database) -> None:
    assert await upgraded.run(tags.listing, "t") == [Tag("default", "b2", 2, NOON + MINUTE)]
    assert await upgraded.run(tags.moves, "t") == [Move("default", "b2", 2, NOON + MINUTE)]


async def test_live_sandboxes_keep_what_they_were_started_from(upgraded: Database) -> None:
    for sandbox_id, build_id, layer in (("old", "b1", "old"), ("new", "b2", "new")):
        found = await upgraded.run(sandboxes.find, TEAM, sandbox_id, NOON)
        assert found is not None
        assert (found.build_id, found.layers) == (build_id, (layer,))


async def test_live_sandboxes_have_no_volumes_mounted(upgraded: Database) -> None:
    found = await upgraded.run(sandboxes.find, TEAM, "old", NOON)
    assert found is not None
    assert found.volume_mounts == ()
    assert await upgraded.run(volumes.listing, TEAM) == []
