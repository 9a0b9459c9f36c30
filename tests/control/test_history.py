from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import Connection, select, update

from berm.control.history import ABANDONED, TRIAL_KEPT, History, figures
from berm.control.templates import Templates
from berm.errors import BermError, Code
from berm.models import Resources
from berm.store import sandboxes
from berm.store.builds import Build, Cause, Status, StepRecord
from berm.store.database import Database
from berm.store.paging import Slice
from berm.store.schema import builds as table
from tests.control.making import NAME, begin, finish, make, tagged
from tests.store.samples import NOON, OTHER_TEAM, TEAM, add_teams, sandbox

LAYER = StepRecord("1", "RUN true", key="k")
CACHED = StepRecord("2", "RUN true", key="l", cached=True)
CONFIG = StepRecord("3", "ENV a=b", cached=True)


@pytest.fixture
async def templates(database: Database) -> Templates:
    await add_teams(database)
    return Templates(database)


@pytest.fixture
def history(database: Database, templates: Templates) -> History:
    return History(database)


def _age(connection: Connection, days: int) -> None:
    """Let all builds look as if they were this much longer ago."""
    for row in connection.execute(select(table)).all():
        times = {"created_at": row.created_at, "finished_at": row.finished_at}
        values = {name: at and at - timedelta(days=days) for name, at in times.items()}
        connection.execute(update(table).where(table.c.build_id == row.build_id).values(values))


async def numbers(history: History) -> list[int]:
    page = await history.listing(TEAM, NAME, Slice())
    return [entry.build.number for entry in page.items]


async def test_each_build_is_listed_with_its_tags_of_now(history: History, templates: Templates) -> None:
    first, second = await make(templates, "default", "v1.0.0"), await make(templates)
    page = await history.listing(TEAM, NAME, Slice(limit=1))
    assert [(e.build, e.tags) for e in page.items] == [(second, ("default", "latest"))]
    page = await history.listing(TEAM, NAME, Slice(limit=1, after=page.next))
    assert [(e.build, e.tags) for e in page.items] == [(first, ("v1.0.0",))]
    assert page.next is None


async def test_a_build_is_found_by_number_id_and_tag(history: History, templates: Templates) -> None:
    build = await make(templates, "default", "v1.0.0", "2")
    await make(templates)
    for which in ("1", build.build_id, "v1.0.0"):
        assert (await history.get(TEAM, NAME, which)).build == build
    assert (await history.get(TEAM, NAME, "2")).build.number == 2


@pytest.mark.parametrize("which", ["0", "3", "none", "", "\u0663", "9" * 30])
async def test_what_is_no_build_is_not_found(history: History, templates: Templates, which: str) -> None:
    await make(templates)
    with pytest.raises(BermError, match="has no build") as caught:
        await history.get(TEAM, NAME, which)
    assert caught.value.code is Code.NOT_FOUND


async def test_another_team_sees_nothing(history: History, templates: Templates) -> None:
    await make(templates)
    for work in (
        history.listing(OTHER_TEAM, NAME, Slice()),
        history.get(OTHER_TEAM, NAME, "1"),
        history.stats(OTHER_TEAM, NAME),
        history.moves(OTHER_TEAM, NAME),
        history.settings(OTHER_TEAM, NAME),
    ):
        with pytest.raises(BermError, match="not found"):
            await work
    assert (await history.stats(OTHER_TEAM)).builds == 0


async def test_every_move_of_a_tag_is_told(history: History, templates: Templates) -> None:
    for _ in range(2):
        await make(templates, "x")
    await templates.rollback(TEAM, NAME, "x", actor="other")
    await templates.remove_tags(TEAM, NAME, ["x"], "third")
    moves = await history.moves(TEAM, NAME, "x")
    assert [(m.number, m.actor) for m in moves] == [
        (1, "someone"),
        (2, "someone"),
        (1, "other"),
        (None, "third"),
    ]
    assert await history.moves(TEAM, NAME, "y") == []


async def test_figures_of_one_template_and_of_all(history: History, templates: Templates) -> None:
    await finish(templates, await begin(templates), [LAYER, CACHED, CONFIG])
    failed = await begin(templates)
    await templates.note_steps(failed.build_id, [LAYER, LAYER])
    await templates.fail(failed.build_id, "broken", "1", Cause.STEP_FAILED)
    last = await make(templates, name="other")
    one = await history.stats(TEAM, NAME)
    assert (one.builds, one.succeeded, one.failed, one.causes) == (2, 1, 1, {Cause.STEP_FAILED: 1})
    assert (one.success_rate, one.cache_hit_rate, one.last_number) == (0.5, 0.25, 1)
    both = await history.stats(TEAM)
    assert (both.builds, both.succeeded, both.failed) == (3, 2, 1)
    assert (both.last_deployed, both.last_number) == (last.finished_at, None)


def _ready(took: Sequence[int]) -> list[Build]:
    make = ("t", Status.READY, (), Resources(), NOON, NOON)
    return [Build(str(ms), *make, duration_ms=ms) for ms in took]


@pytest.mark.parametrize(
    ("took", "median", "p90"),
    [
        ([], None, None),
        ([7], 7, 7),
        ([3, 1, 2], 2, 3),
        ([2, 1], 1, 2),
        (range(10, 0, -1), 5, 9),
        (range(11), 5, 9),
    ],
)
def test_durations(took: Sequence[int], median: int | None, p90: int | None) -> None:
    found = figures(_ready(took), of_one=True)
    assert (found.median_ms, found.p90_ms) == (median, p90)
    assert found.success_rate == (1.0 if took else None)
    assert found.cache_hit_rate is None


async def test_builds_go_when_they_are_both_old_and_many(
    history: History, templates: Templates, database: Database
) -> None:
    for _ in range(5):
        await make(templates)
    failed = await begin(templates)
    await templates.fail(failed.build_id, "broken")
    assert await templates.expire(1, 30) == ()
    await database.run(_age, 31)
    assert await templates.expire(9, 30) == ()
    gone = await templates.expire(2, 30)
    # 5 has the tags, 4 is what they would go back to, 6 is the newest.
    assert (len(gone), await numbers(history)) == (3, [6, 5, 4])
    assert await templates.rollback(TEAM, NAME)
    assert (await make(templates)).number == 7


async def test_what_is_tagged_or_in_use_stays(
    history: History, templates: Templates, database: Database
) -> None:
    await make(templates, "v1.0.0")
    used = await make(templates, "x")
    for _ in range(3):
        await make(templates, "x")
    live = sandbox(build_id=used.build_id, layers=used.layers)
    await database.run(sandboxes.add, live)
    await database.run(_age, 31)
    await templates.expire(1, 30)
    assert await numbers(history) == [5, 4, 2, 1]
    await database.run(sandboxes.end, live.sandbox_id, NOON)
    await templates.expire(1, 30)
    assert await numbers(history) == [5, 4, 1]


async def test_the_way_back_leads_around_what_is_gone(
    history: History, templates: Templates, database: Database
) -> None:
    for _ in range(3):
        await make(templates, "x")
    await templates.rollback(TEAM, NAME, "x", to=1)
    await make(templates, "x")
    await database.run(_age, 31)
    await templates.expire(1, 30)
    assert await numbers(history) == [4, 1]
    assert (await templates.rollback(TEAM, NAME, "x")).to_number == 1


async def test_the_newest_build_stays_whatever_is_set(
    history: History, templates: Templates, database: Database
) -> None:
    for _ in range(2):
        build = await begin(templates)
        await templates.fail(build.build_id, "broken")
    await database.run(_age, 31)
    await templates.expire(0, 0)
    assert await numbers(history) == [2]


async def test_what_goes_on_stays_and_what_never_began_fails(
    history: History, templates: Templates, database: Database
) -> None:
    going_on, waiting = await begin(templates), await templates.begin(TEAM, NAME)
    await templates.expire(1, 0)
    assert (await templates.build(TEAM, NAME, "2")).status is Status.WAITING
    await database.run(_age, ABANDONED.days + 1)
    await templates.expire(1, 30)
    assert (await templates.build(TEAM, NAME, going_on.build_id)).status is Status.BUILDING
    given_up = await templates.build(TEAM, NAME, waiting.build_id)
    assert (given_up.status, given_up.cause) == (Status.ERROR, Cause.INTERRUPTED)


async def test_a_trial_is_forgotten_with_its_template(templates: Templates, database: Database) -> None:
    build = await templates.begin(TEAM, NAME)
    await templates.start(build.build_id, trial=True)
    await templates.finish(build, ["layer"])
    assert await templates.unused(["layer"], 0) == {"layer"}
    await templates.expire(9, 9)
    assert (await templates.own_build(TEAM, build.template_id, build.build_id)).trial
    await database.run(_age, TRIAL_KEPT.days + 1)
    assert await templates.expire(9, 9) == (build.build_id,)
    with pytest.raises(BermError, match="not found"):
        await templates.get_own(TEAM, build.template_id)


async def test_layers_of_recorded_builds_are_used(
    history: History, templates: Templates, database: Database
) -> None:
    for _ in range(2):
        await make(templates, "x")
    await make(templates, "x")
    assert await templates.unused(["layer-1", "layer-2", "layer-3", "y"], 0) == {"y"}
    await database.run(_age, 31)
    await templates.expire(1, 30)
    assert await templates.unused(["layer-1", "layer-2", "layer-3", "y"], 0) == {"layer-1", "y"}
    assert await tagged(templates) == {"x": 3}


async def test_what_is_resolved_by_its_number_is_gone_with_the_build(
    templates: Templates, database: Database
) -> None:
    for _ in range(3):
        await make(templates)
    assert (await templates.resolve(TEAM, "app@1")).layers == ("layer-1",)
    await database.run(_age, 31)
    await templates.expire(1, 30)
    with pytest.raises(BermError, match="has no build '1'"):
        await templates.resolve(TEAM, "app@1")
