import asyncio
from dataclasses import replace

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


def same(limits: Limits) -> Limits:
    return limits


async def test_a_team_is_found_by_id_or_name(control: Control) -> None:
    made, _ = await control.teams.create("guests", Limits())
    for reference in ("guests", made.team.team_id):
        assert (await control.teams.change_limits(reference, same)).team == made.team
    with pytest.raises(BermError) as caught:
        await control.teams.change_limits("none", same)
    assert caught.value.code is Code.NOT_FOUND


async def test_names_are_given_once_and_older_doubles_have_to_be_told_apart(control: Control) -> None:
    await control.teams.create("guests", Limits())
    with pytest.raises(BermError, match="there is a team 'guests' already") as caught:
        await control.teams.create("guests", Limits())
    assert caught.value.code is Code.CONFLICT
    for _ in range(2):
        await second_team(control)
    with pytest.raises(BermError, match="2 teams are called 'other'"):
        await control.teams.change_limits("other", same)


async def test_limits_change_for_what_comes(control: Control) -> None:
    await control.teams.create("guests", Limits(1, 2, 3))
    changed = await control.teams.change_limits("guests", lambda _: Limits(4))
    assert changed.team.limits == Limits(4)
    assert (await control.teams.change_limits("guests", same)).team.limits == Limits(4)


async def test_two_who_change_limits_at_once_lose_nothing(control: Control) -> None:
    await control.teams.create("guests", Limits())
    changes = (
        control.teams.change_limits("guests", lambda limits: replace(limits, max_sandboxes=7)),
        control.teams.change_limits("guests", lambda limits: replace(limits, creation_rate=8)),
    )
    await asyncio.gather(*changes)
    found = (await control.teams.change_limits("guests", same)).team.limits
    assert (found.max_sandboxes, found.creation_rate) == (7, 8)
