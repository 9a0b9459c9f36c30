import pytest

from berm.store import build_logs
from berm.store.builds import BuildLine
from berm.store.database import Database
from tests.store.samples import MINUTE, NOON, add_build, add_teams, add_template


@pytest.fixture(autouse=True)
async def _teams(database: Database) -> None:
    await add_teams(database)


async def test_log_lines_are_read_from_an_offset_and_by_level(database: Database) -> None:
    build = await add_build(database, await add_template(database))
    lines = [BuildLine(NOON, str(n), level) for n, level in enumerate(["info", "error", "info"])]
    await database.run(build_logs.append, build.build_id, lines[:1])
    await database.run(build_logs.append, build.build_id, [])
    await database.run(build_logs.append, build.build_id, lines[1:])
    assert await database.run(build_logs.lines, build.build_id, ["info", "error"], 0, 100) == lines
    assert await database.run(build_logs.lines, build.build_id, ["info", "error"], 1, 1) == lines[1:2]
    assert await database.run(build_logs.lines, build.build_id, ["info"], 1, 100) == lines[2:]
    assert await database.run(build_logs.lines, build.build_id, ["info"], 3, 100) == []


@pytest.mark.parametrize(
    ("minute", "limit", "backward", "found"),
    [
        (None, 9, False, "013"),
        (None, 2, True, "31"),
        (1, 9, False, "13"),
        (1, 9, True, "10"),
        (2, 1, True, "1"),
        (4, 9, False, ""),
    ],
)
async def test_log_lines_are_read_from_a_moment(
    database: Database, minute: int | None, limit: int, backward: bool, found: str
) -> None:
    build = await add_build(database, await add_template(database))
    lines = [BuildLine(NOON + n * MINUTE, str(n), "debug" if n == 2 else "info") for n in range(4)]
    await database.run(build_logs.append, build.build_id, lines)
    moment = None if minute is None else NOON + minute * MINUTE
    read = await database.run(build_logs.lines_at, build.build_id, ["info"], moment, limit, backward=backward)
    assert "".join(line.message for line in read) == found
