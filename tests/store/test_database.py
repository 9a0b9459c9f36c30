import asyncio
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, insert, select, text

from berm.errors import BermError, Code
from berm.store.database import Database, migrate
from berm.store.schema import metadata, teams
from tests.store.samples import TEAM, team_values


async def test_migrations_make_exactly_the_tables_of_the_schema(database: Database) -> None:
    def differences(connection: Connection) -> object:
        return compare_metadata(MigrationContext.configure(connection), metadata)

    assert await database.run(differences) == []


async def test_migrating_twice_changes_nothing(database: Database) -> None:
    await database.run(_add_team)
    await database.run(migrate)
    assert await database.run(_team_ids) == [TEAM]


async def test_a_transaction_that_raises_leaves_nothing(database: Database) -> None:
    def half(connection: Connection) -> None:
        _add_team(connection)
        raise KeyError

    with pytest.raises(KeyError):
        await database.run(half)
    assert await database.run(_team_ids) == []


async def test_every_transaction_runs_in_the_same_other_thread(database: Database) -> None:
    def thread(_connection: Connection) -> int:
        return threading.get_ident()

    seen = {await database.run(thread) for _ in range(3)}
    assert len(seen) == 1
    assert threading.get_ident() not in seen


async def test_what_was_committed_is_there_after_reopening(url: str) -> None:
    first = Database(url)
    await first.start()
    await first.run(_add_team)
    await first.close()
    second = Database(url)
    await second.start()
    assert await second.run(_team_ids) == [TEAM]
    await second.close()


async def test_a_failed_migration_leaves_no_tables(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'berm.db'}")

    def migrate_and_fail(connection: Connection) -> None:
        migrate(connection)
        raise KeyError

    with pytest.raises(KeyError):
        await database.run(migrate_and_fail)
    assert await database.run(_tables) == []
    await database.close()


async def test_sqlite_is_private_and_set_up_for_one_writer(tmp_path: Path) -> None:
    file = tmp_path / "state" / "berm.db"
    database = Database(f"sqlite:///{file}")
    await database.start()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert await database.run(_pragma, "journal_mode") == "wal"
    assert await database.run(_pragma, "foreign_keys") == 1
    assert await database.run(_pragma, "synchronous") == 1
    await database.close()


async def test_a_killed_process_loses_nothing_it_had_committed(url: str) -> None:
    command = [sys.executable, "-c", "from tests.store.test_database import commit_and_wait as f; f()", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"committed\n"
        process.kill()
    database = Database(url)
    await database.start()
    assert await database.run(_team_ids) == [TEAM]
    await database.close()


def commit_and_wait() -> None:
    """What the process that is killed does."""

    async def commit() -> None:
        database = Database(sys.argv[1])
        await database.start()
        await database.run(_add_team)
        sys.stdout.write("committed\n")
        sys.stdout.flush()
        await asyncio.Event().wait()

    asyncio.run(commit())


async def test_a_text_that_cannot_be_held_is_invalid(database: Database, url: str) -> None:
    if url.startswith("sqlite"):
        assert await database.run(_find_team, "\0") is None
        return
    with pytest.raises(BermError, match="not a possible value") as caught:
        await database.run(_find_team, "\0")
    assert caught.value.code is Code.INVALID_ARGUMENT


async def test_a_database_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    database = Database(f"postgresql://nobody@/none?host={tmp_path}")
    with pytest.raises(BermError, match="the database does not answer") as caught:
        await database.start()
    assert caught.value.code is Code.UNAVAILABLE
    await database.close()


def _add_team(connection: Connection) -> None:
    connection.execute(insert(teams), team_values())


def _find_team(connection: Connection, team_id: str) -> object:
    return connection.execute(select(teams).where(teams.c.team_id == team_id)).first()


def _team_ids(connection: Connection) -> list[str]:
    return list(connection.execute(select(teams.c.team_id)).scalars())


def _tables(connection: Connection) -> list[str]:
    return list(connection.execute(text("SELECT name FROM sqlite_master")).scalars())


def _pragma(connection: Connection, name: str) -> object:
    return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
