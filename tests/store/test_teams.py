import pytest

from berm.models import Limits
from berm.store import teams as store
from berm.store.database import Database
from tests.store.samples import MINUTE, NOON, OTHER_TEAM, TEAM, add_teams


@pytest.fixture(autouse=True)
async def _teams(database: Database) -> None:
    await add_teams(database)


async def test_teams_are_found(database: Database) -> None:
    team = store.Team(TEAM, TEAM, NOON)
    assert await database.run(store.first_team) == team
    assert await database.run(store.find_team, TEAM) == team
    assert await database.run(store.find_team, "none") is None


async def test_teams_are_found_by_id_or_name(database: Database) -> None:
    team = store.Team("id", "name", NOON - MINUTE, Limits(1, 2, 3))
    await database.run(store.add_team, team)
    assert await database.run(store.named, "id") == await database.run(store.named, "name") == [team]
    assert await database.run(store.named, "none") == []
    assert [found.team_id for found in await database.run(store.listing)] == ["id", TEAM, OTHER_TEAM]


@pytest.mark.parametrize("limits", [Limits(), Limits(0, 0, 1), Limits(5, None, 60)])
async def test_limits_are_those_of_one_team(database: Database, limits: Limits) -> None:
    await database.run(store.set_limits, TEAM, Limits(9, 9, 9))
    await database.run(store.set_limits, TEAM, limits)
    found = [await database.run(store.find_team, team_id) for team_id in (TEAM, OTHER_TEAM)]
    assert [team and team.limits for team in found] == [limits, Limits()]
