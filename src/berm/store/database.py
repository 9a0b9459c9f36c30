"""The connection to the database, and the one thread that uses it."""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from alembic import command
from alembic.config import Config as AlembicConfig
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DataError, InterfaceError, OperationalError

from berm.errors import BermError, Code

P = ParamSpec("P")
R = TypeVar("R")

_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA busy_timeout = 5000",
)


class Database:
    """Every transaction runs in one worker thread, in the order of the calls.

    A transaction is a plain function of a `Connection`; it commits when the function returns and is
    rolled back when it raises.
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(_driver(make_url(url)))
        self._worker = ThreadPoolExecutor(1, "store")

    async def start(self) -> None:
        """Create the database or bring its schema up to date."""
        await self.run(migrate)

    async def close(self) -> None:
        """Finish what was asked for, then let go of the database."""
        await self._hop(self._engine.dispose)
        self._worker.shutdown()

    async def run(
        self, work: Callable[Concatenate[Connection, P], R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run `work(connection, ...)` as one transaction.

        Raises BermError UNAVAILABLE if the database does not answer, INVALID_ARGUMENT for a value that
        it cannot hold (PostgreSQL and a NUL in a text), and whatever `work` raises.
        """
        return await self._hop(partial(self._transaction, work, *args, **kwargs))

    async def _hop(self, call: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._worker, call)

    def _transaction(
        self, work: Callable[Concatenate[Connection, P], R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        try:
            with self._engine.begin() as connection:
                return work(connection, *args, **kwargs)
        except (OperationalError, InterfaceError) as error:
            raise BermError(Code.UNAVAILABLE, f"the database does not answer: {error.orig}") from error
        except DataError as error:
            raise BermError(Code.INVALID_ARGUMENT, f"not a possible value: {error.orig}") from error


def migrate(connection: Connection, revision: str = "head") -> None:
    """Bring the schema up to a revision, the newest if none is named, inside the caller's transaction."""
    config = AlembicConfig()
    config.set_main_option("script_location", "berm.store:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _driver(url: URL) -> URL:
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_size=1, max_overflow=0)
    if url.database:
        _make_private(Path(url.database))
    engine = create_engine(url)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _make_private(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # Without this the driver opens transactions by its own rules and leaves DDL outside of them.
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction can meet a busy database at its first write, where waiting does not help.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
