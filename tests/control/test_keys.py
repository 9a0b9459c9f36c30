import stat

import pytest

from berm.config import Config
from berm.control.control import Control
from berm.errors import BermError, Code
from berm.models import Principal
from tests.control.conftest import Start
from tests.fakes import FakeNode


async def test_the_first_start_leaves_a_key_that_works(control: Control, config: Config) -> None:
    assert stat.S_IMODE(config.key_file.stat().st_mode) == 0o600
    principal = await control.keys.authenticate(config.key_file.read_text().strip())
    assert principal.team_id == (await control.keys.first_team()).team_id


async def test_a_restart_keeps_the_key(start: Start, config: Config) -> None:
    await start(FakeNode())
    before = config.key_file.read_text()
    await start(FakeNode())
    assert config.key_file.read_text() == before


async def test_a_lost_key_file_is_written_anew(start: Start, config: Config) -> None:
    await start(FakeNode())
    config.key_file.unlink()
    control = await start(FakeNode())
    await control.keys.authenticate(config.key_file.read_text().strip())


async def test_a_revoked_key_is_refused_at_once(control: Control, who: Principal) -> None:
    made = await control.keys.create(who.team_id, "new")
    assert await control.keys.authenticate(made.secret) == Principal(who.team_id, made.key.key_id)
    await control.keys.revoke(who.team_id, made.key.key_id)
    with pytest.raises(BermError, match="not known") as caught:
        await control.keys.authenticate(made.secret)
    assert caught.value.code is Code.UNAUTHENTICATED


async def test_a_revoked_key_stays_revoked_after_a_restart(
    start: Start, control: Control, config: Config
) -> None:
    secret = config.key_file.read_text().strip()
    principal = await control.keys.authenticate(secret)
    await control.keys.revoke(principal.team_id, principal.key_id)
    again = await start(FakeNode())
    with pytest.raises(BermError):
        await again.keys.authenticate(secret)


async def test_the_last_use_is_recorded(control: Control, who: Principal) -> None:
    made = await control.keys.create(who.team_id, "new")
    await control.keys.authenticate(made.secret)
    (key,) = [k for k in await control.keys.list(who.team_id) if k.key_id == made.key.key_id]
    assert key.last_used is not None
    assert key.last_used >= key.created_at


async def test_the_mask_shows_little_of_the_secret(control: Control, who: Principal) -> None:
    made = await control.keys.create(who.team_id, "new")
    assert made.secret.startswith(made.key.prefix)
    assert made.secret.endswith(made.key.suffix)
    assert (len(made.key.prefix), len(made.key.suffix), made.key.length) == (6, 4, len(made.secret))


async def test_unknown_keys_cannot_be_changed(control: Control, who: Principal) -> None:
    for change in (
        control.keys.rename(who.team_id, "none", "name"),
        control.keys.revoke(who.team_id, "none"),
        control.keys.team("none"),
    ):
        with pytest.raises(BermError) as caught:
            await change
        assert caught.value.code is Code.NOT_FOUND
