import pytest

from berm.config import Config
from berm.control.control import Control
from berm.errors import BermError, Code
from berm.models import Limits, Principal
from tests.control.asking import second_team, wanted


async def test_a_new_team_has_a_key_and_its_limits(control: Control, who: Principal, config: Config) -> None:
    made, key = await control.teams.create("guests", Limits(max_sandboxes=5))
    principal = await control.keys.authenticate(key.secret)
    assert principal.team_id == made.team.team_id != who.team_id
    assert made.in_force == Limits(5, 0, config.max_timeout)
    first, second = await control.teams.list()
    assert (first.team.team_id, second) == (who.team_id, made)


async def test_what_runs_is_counted(control: Control, who: Principal) -> None:
    await control.sandboxes.create(who, wanted())
    await second_team(control)
    assert [standing.running for standing in await control.teams.list()] == [1, 0]


async def test_a_team_is_found_by_id_or_name(control: Control) -> None:
    made, _ = await control.teams.create("guests", Limits())
    for reference in ("guests", made.team.team_id):
        assert await control.teams.find(reference) == made.team
    with pytest.raises(BermError) as caught:
        await control.teams.find("none")
    assert caught.value.code is Code.NOT_FOUND


async def test_names_are_given_once_and_older_doubles_have_to_be_told_apart(control: Control) -> None:
    await control.teams.create("guests", Limits())
    with pytest.raises(BermError, match="there is a team 'guests' already") as caught:
        await control.teams.create("guests", Limits())
    assert caught.value.code is Code.CONFLICT
    for _ in range(2):
        await second_team(control)
    with pytest.raises(BermError, match="2 teams are called 'other'"):
        await control.teams.find("other")


async def test_limits_change_for_what_comes(control: Control) -> None:
    made, _ = await control.teams.create("guests", Limits(1, 2, 3))
    changed = await control.teams.set_limits(made.team, Limits(4))
    assert changed.team.limits == Limits(4)
    assert (await control.teams.find("guests")).limits == Limits(4)
