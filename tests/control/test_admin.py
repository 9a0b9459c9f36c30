import stat

import pytest

from berm.config import Config
from berm.control.admin import Outcome
from berm.control.control import Control
from berm.errors import BermError, Code
from berm.models import Principal
from berm.store.builds import Cause, Status
from tests.control.asking import listed, second_team, wanted
from tests.control.conftest import Start
from tests.fakes import FakeNode, UnkillableNode
from tests.serving import make_template


def token(config: Config) -> str:
    return config.admin_token_file.read_text().strip()


async def test_the_token_is_made_once_and_private(control: Control, start: Start, config: Config) -> None:
    made = token(config)
    assert stat.S_IMODE(config.admin_token_file.stat().st_mode) == 0o600
    assert len(made) == 64
    await start(FakeNode())
    assert token(config) == made
    control.admin.check(made)


@pytest.mark.parametrize("wrong", ["", "x", "\u00fc", "\udcff"])
async def test_another_token_is_refused(control: Control, config: Config, wrong: str) -> None:
    for presented in (wrong, token(config)[:-1], token(config) + wrong + "0"):
        with pytest.raises(BermError) as caught:
            control.admin.check(presented)
        assert caught.value.code is Code.UNAUTHENTICATED
        assert token(config) not in str(caught.value)


@pytest.mark.parametrize("text", ["", "\n", "short"])
async def test_a_file_without_a_token_lets_nobody_in(
    control: Control, start: Start, config: Config, text: str
) -> None:
    config.admin_token_file.write_text(text)
    with pytest.raises(BermError, match="holds no token"):
        await start(FakeNode())


async def test_a_removed_file_means_a_new_token(control: Control, start: Start, config: Config) -> None:
    old = token(config)
    config.admin_token_file.unlink()
    again = await start(FakeNode())
    again.admin.check(token(config))
    with pytest.raises(BermError):
        again.admin.check(old)


async def test_all_sandboxes_of_one_team_are_killed(control: Control, who: Principal, node: FakeNode) -> None:
    other = await second_team(control)
    for each in (who, who, other):
        await control.sandboxes.create(each, wanted())
    assert await control.admin.running_counts() == {who.team_id: 2, other.team_id: 1}
    assert await control.admin.kill_sandboxes(who.team_id) == Outcome(2, 0)
    assert await control.admin.running_counts() == {other.team_id: 1}
    assert await control.admin.kill_sandboxes(who.team_id) == Outcome(0, 0)
    assert await listed(control, who) == []
    assert len(await listed(control, other)) == len(node.running()) == 1


async def test_what_cannot_be_killed_is_counted(start: Start) -> None:
    node = UnkillableNode()
    control = await start(node)
    who = Principal((await control.keys.first_team()).team_id, "key")
    await make_template(control, who.team_id, "base")
    await control.sandboxes.create(who, wanted())
    assert await control.admin.kill_sandboxes(who.team_id) == Outcome(0, 1)
    node.mended = True


async def test_all_builds_of_one_team_are_cancelled(control: Control, who: Principal) -> None:
    other = await second_team(control)
    waiting = await control.templates.begin(who.team_id, "one")
    elsewhere = await control.templates.begin(other.team_id, "one")
    assert await control.admin.cancel_builds(who.team_id) == Outcome(1, 0)
    ended = await control.templates.build(who.team_id, waiting.template_id, waiting.build_id)
    assert (ended.status, ended.cause) == (Status.ERROR, Cause.CANCELLED)
    left = await control.templates.build(other.team_id, elsewhere.template_id, elsewhere.build_id)
    assert left.status is Status.WAITING
    assert await control.admin.cancel_builds(who.team_id) == Outcome(0, 0)


async def test_a_build_that_nobody_can_break_off_is_counted(control: Control, who: Principal) -> None:
    build = await control.templates.begin(who.team_id, "one")
    await control.templates.start(build.build_id)
    assert await control.admin.cancel_builds(who.team_id) == Outcome(0, 1)


async def test_unknown_teams(control: Control, config: Config) -> None:
    for call in (
        control.admin.kill_sandboxes("none"),
        control.admin.cancel_builds("none"),
        control.admin.act_for(token(config), "none"),
    ):
        with pytest.raises(BermError) as caught:
            await call
        assert caught.value.code is Code.NOT_FOUND
