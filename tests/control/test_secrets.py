import asyncio
import logging
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, update

from berm.config import Config
from berm.control import sealing
from berm.control.control import Control
from berm.control.secrets import MAX_VALUE, Content, Secrets
from berm.errors import BermError, Code
from berm.models import Principal
from berm.store.database import Database
from berm.store.paging import Slice
from berm.store.schema import secrets as table
from tests.control.conftest import Start
from tests.fakes import FakeNode
from tests.store.samples import OTHER_TEAM, TEAM, add_teams

VALUE = "plain-value-that-nobody-may-find"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "secrets.key"


@pytest.fixture
async def secrets(database: Database, key_file: Path) -> Secrets:
    await add_teams(database)
    made = Secrets(database)
    await made.start(key_file)
    return made


async def refused(secrets: Secrets, name: str, content: Content) -> BermError:
    with pytest.raises(BermError) as caught:
        await secrets.create(TEAM, name, content)
    return caught.value


async def test_a_value_is_there_for_the_server_by_team_and_name(secrets: Secrets) -> None:
    made = await secrets.create(TEAM, "Api-Key", Content(VALUE, {"a": "b"}))
    assert (made.name, made.version, made.metadata) == ("api-key", 1, {"a": "b"})
    assert await secrets.value(TEAM, "API-key") == VALUE
    assert await secrets.get(TEAM, made.secret_id) == await secrets.get(TEAM, "api-key") == made


async def test_another_team_finds_nothing(secrets: Secrets) -> None:
    made = await secrets.create(TEAM, "name", Content(VALUE))
    for reference in (made.secret_id, "name"):
        for call in (
            secrets.get(OTHER_TEAM, reference),
            secrets.value(OTHER_TEAM, reference),
            secrets.update(OTHER_TEAM, reference, Content("new")),
            secrets.delete(OTHER_TEAM, reference),
        ):
            with pytest.raises(BermError) as caught:
                await call
            assert caught.value.code is Code.NOT_FOUND
    assert (await secrets.list(OTHER_TEAM, Slice())).items == ()
    assert await secrets.value(TEAM, "name") == VALUE


async def test_an_update_makes_a_version_and_leaves_metadata_unless_it_is_given(secrets: Secrets) -> None:
    made = await secrets.create(TEAM, "name", Content("old", {"a": "b"}))
    second = await secrets.update(TEAM, "NAME", Content("new"))
    assert (second.version, second.metadata, second.created_at) == (2, {"a": "b"}, made.created_at)
    assert second.updated_at > made.updated_at
    assert await secrets.value(TEAM, "name") == "new"
    third = await secrets.update(TEAM, made.secret_id, Content("", {}))
    assert (third.version, third.metadata) == (3, {})
    assert await secrets.value(TEAM, "name") == ""


async def test_updates_at_the_same_time_each_make_a_version(secrets: Secrets) -> None:
    await secrets.create(TEAM, "name", Content("0"))
    made = await asyncio.gather(*(secrets.update(TEAM, "name", Content(str(n))) for n in range(9)))
    assert sorted(secret.version for secret in made) == list(range(2, 11))
    assert await secrets.value(TEAM, "name") == str([s.version for s in made].index(10))


async def test_of_many_with_one_name_one_is_made(secrets: Secrets) -> None:
    calls = [secrets.create(TEAM, "name", Content(VALUE)) for _ in range(5)]
    done = await asyncio.gather(*calls, return_exceptions=True)
    failed = [result for result in done if isinstance(result, BermError)]
    assert len(failed) == 4
    assert {error.code for error in failed} == {Code.CONFLICT}


async def test_what_was_deleted_is_gone_and_its_name_free(secrets: Secrets) -> None:
    first = await secrets.create(TEAM, "name", Content(VALUE))
    await secrets.delete(TEAM, "Name")
    with pytest.raises(BermError):
        await secrets.value(TEAM, "name")
    again = await secrets.create(TEAM, "name", Content("other"))
    assert again.secret_id != first.secret_id


@pytest.mark.parametrize(
    "name", ["", "a b", "a/b", "x" * 129, "name\n", "\N{KELVIN SIGN}", "sec_x", "SEC_x", VALUE + "!"]
)
async def test_names_that_cannot_be_are_not_echoed(secrets: Secrets, name: str) -> None:
    error = await refused(secrets, name, Content("v"))
    assert error.code is Code.INVALID_ARGUMENT
    assert VALUE not in str(error)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (Content(VALUE * MAX_VALUE), "value has"),
        (Content(VALUE, {"k" * 129: ""}), "a key of metadata has 129 bytes"),
        (Content(VALUE, {"k": "\u00fc" * 513}), "a value of metadata has 1026 bytes"),
        (Content(VALUE, {str(n): "x" * 1000 for n in range(9)}), "metadata has 9009 bytes"),
        (Content(VALUE, {str(n): "" for n in range(33)}), "metadata has 33 entries"),
    ],
)
async def test_what_is_too_large_is_refused_without_its_value(
    secrets: Secrets, content: Content, said: str
) -> None:
    error = await refused(secrets, "name", content)
    assert (error.code, said in error.message) == (Code.INVALID_ARGUMENT, True)
    assert VALUE not in str(error)
    assert VALUE not in repr(content)


async def test_what_is_allowed_at_most_is_taken(secrets: Secrets) -> None:
    metadata = {f"{n:02}": "x" * 254 for n in range(32)}
    await secrets.create(TEAM, "n" * 128, Content("v" * MAX_VALUE, metadata))
    assert (await secrets.get(TEAM, "n" * 128)).metadata == metadata


async def test_rows_cannot_be_given_to_another_team_secret_or_version(
    secrets: Secrets, database: Database
) -> None:
    one = await secrets.create(TEAM, "one", Content(VALUE))
    await secrets.create(OTHER_TEAM, "one", Content("other"))
    await secrets.create(TEAM, "two", Content("second"))

    def steal(connection: Connection) -> None:
        sealed = connection.execute(
            select(table.c.sealed).where(table.c.secret_id == one.secret_id)
        ).scalar_one()
        connection.execute(update(table).values(sealed=sealed))
        connection.execute(update(table).where(table.c.secret_id == one.secret_id).values(version=2))

    await database.run(steal)
    for team, name in ((OTHER_TEAM, "one"), (TEAM, "two"), (TEAM, "one")):
        with pytest.raises(BermError) as caught:
            await secrets.value(team, name)
        assert caught.value.code is Code.INTERNAL


async def test_the_key_is_made_once_and_private(control: Control, start: Start, config: Config) -> None:
    made = config.secrets_key_file.read_bytes()
    assert stat.S_IMODE(config.secrets_key_file.stat().st_mode) == 0o600
    await start(FakeNode())
    assert config.secrets_key_file.read_bytes() == made
    assert control.config.secrets_key_file == config.home / "secrets.key"


async def test_the_key_may_be_elsewhere(config: Config, node: FakeNode, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    settings = replace(config, secrets_key=str(elsewhere))
    control = Control.over(Database(settings.database), node, settings)
    await control.start()
    await control.close()
    assert elsewhere.exists()
    assert not (config.home / "secrets.key").exists()


@pytest.mark.parametrize("fault", ["lost", "broken", "another"])
async def test_without_the_right_key_nothing_is_sealed_opened_or_made(
    database: Database, secrets: Secrets, key_file: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = await secrets.create(TEAM, "name", Content(VALUE))
    right = key_file.read_bytes()
    key_file.unlink()
    if fault == "broken":
        key_file.write_text("cut off")
    if fault == "another":
        sealing.make(key_file)
    found = key_file.read_bytes() if key_file.exists() else None

    later = Secrets(database)
    with caplog.at_level(logging.ERROR):
        await later.start(key_file)
    assert f"secrets cannot be used: {key_file}" in caplog.text
    for call in (
        later.value(TEAM, "name"),
        later.create(TEAM, "new", Content("v")),
        later.update(TEAM, "name", Content("v")),
    ):
        with pytest.raises(BermError, match="does not have the key of its secrets"):
            await call
    assert (key_file.read_bytes() if key_file.exists() else None) == found
    assert await later.get(TEAM, "name") == made

    key_file.write_bytes(right)
    await later.start(key_file)
    assert await later.value(TEAM, "name") == VALUE


async def test_a_lost_key_is_replaced_once_nothing_is_sealed_with_it(
    database: Database, secrets: Secrets, key_file: Path
) -> None:
    await secrets.create(TEAM, "name", Content(VALUE))
    key_file.unlink()
    later = Secrets(database)
    await later.start(key_file)
    await later.delete(TEAM, "name")
    await later.start(key_file)
    await later.create(TEAM, "name", Content("new"))
    assert await later.value(TEAM, "name") == "new"


async def test_a_value_is_in_no_file_of_the_state_directory_and_in_no_log(
    control: Control, who: Principal, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        made = await control.secrets.create(who.team_id, "name", Content(VALUE, {"findable": "metadata"}))
        assert VALUE not in repr(made)
        assert await control.secrets.value(who.team_id, "name") == VALUE
        await control.secrets.update(who.team_id, "name", Content(VALUE + VALUE))
        with pytest.raises(BermError):
            await control.secrets.create(who.team_id, "name", Content(VALUE))
    files = {path.name: path.read_bytes() for path in config.home.rglob("*") if path.is_file()}
    assert b"findable" in files["berm.db"] + files["berm.db-wal"]
    for name, content in files.items():
        assert VALUE.encode() not in content, name
    assert VALUE not in caplog.text
