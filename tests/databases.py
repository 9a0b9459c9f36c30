"""Fixtures: a test that asks for a database runs on SQLite and, where the machine has it, on PostgreSQL."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from berm.store.database import Database


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a private server that listens on a unix socket only."""
    if shutil.which("initdb") is None or shutil.which("pg_ctl") is None:
        pytest.skip("PostgreSQL is not installed")
    with tempfile.TemporaryDirectory(prefix="berm-pg-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        _give_away(home)
        data, options = home / "data", f"-k {home} -c listen_addresses='' -c fsync=off"
        _run(["initdb", "-D", str(data), "-A", "trust", "-U", "berm", "--no-sync"], home)
        _run(["pg_ctl", "-D", str(data), "-l", str(home / "log"), "-o", options, "-w", "start"], home)
        try:
            yield f"postgresql://berm@/postgres?host={home}"
        finally:
            _run(["pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop"], home)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state' / 'berm.db'}"
    server: str = request.getfixturevalue("postgresql")
    engine = create_engine(server.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    return server


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """An empty database with its tables."""
    opened = Database(url)
    await opened.start()
    yield opened
    await opened.close()


def _give_away(folder: Path) -> None:
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody")


def _run(command: Sequence[str], home: Path) -> None:
    user = "nobody" if os.geteuid() == 0 else None
    subprocess.run(command, user=user, cwd=home, check=True, stdout=subprocess.DEVNULL)
