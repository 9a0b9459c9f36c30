import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from berm.control.tags import Assigned, RolledBack, way_back
from berm.control.templates import Templates
from berm.errors import BermError, Code
from berm.store.database import Database
from berm.store.tags import Move
from tests.control.making import BOTH, NAME, begin, finish, make, tagged
from tests.store.samples import OTHER_TEAM, TEAM, add_teams

Call = Callable[[Templates], Awaitable[object]]


@pytest.fixture
async def templates(database: Database) -> Templates:
    await add_teams(database)
    return Templates(database)


async def refused(work: Awaitable[object], code: Code, message: str) -> None:
    with pytest.raises(BermError, match=message) as caught:
        await work
    assert caught.value.code is code


async def test_a_tag_is_assigned_to_what_another_stands_for(templates: Templates) -> None:
    build = await make(templates)
    assigned = await templates.assign_tags(TEAM, "app:latest", ["stable", "v1.0.0", "stable"])
    assert assigned == Assigned(("stable", "v1.0.0"), build.build_id, 1)
    assert await tagged(templates) == {"default": 1, "latest": 1, "stable": 1, "v1.0.0": 1}


@pytest.mark.parametrize("target", ["app@1", "{id}@1", "app@{build}", "app:default", "{id}"])
async def test_what_a_target_can_be(templates: Templates, target: str) -> None:
    build = await make(templates)
    reference = target.format(id=build.template_id, build=build.build_id)
    assert (await templates.assign_tags(TEAM, reference, ["x"])).build_id == build.build_id
    assert (await templates.resolve(TEAM, reference)).build_id == build.build_id


@pytest.mark.parametrize("tag", ["", ":x", "a:b", "Upper", "a" * 129, "a/b", "\0"])
async def test_what_is_no_tag_is_refused(templates: Templates, tag: str) -> None:
    await make(templates)
    for call in (templates.assign_tags, templates.remove_tags):
        await refused(call(TEAM, NAME, ["good", tag]), Code.INVALID_ARGUMENT, "is not a tag")
        await refused(call(TEAM, NAME, []), Code.INVALID_ARGUMENT, "no tag is given")
    assert await tagged(templates) == {"default": 1, "latest": 1}


async def test_tags_are_removed_all_or_none(templates: Templates) -> None:
    await make(templates, "default", "x", "y")
    await refused(templates.remove_tags(TEAM, NAME, ["x", "none"]), Code.NOT_FOUND, "no tag 'none'")
    assert await tagged(templates) == {"default": 1, "x": 1, "y": 1}
    await templates.remove_tags(TEAM, NAME, ["x", "y"])
    assert await tagged(templates) == {"default": 1}
    await refused(templates.resolve(TEAM, "app:x"), Code.NOT_FOUND, "no tag 'x'")


@pytest.mark.parametrize(
    "call",
    [
        lambda t: t.assign_tags(OTHER_TEAM, NAME, ["x"]),
        lambda t: t.remove_tags(OTHER_TEAM, NAME, ["default"]),
        lambda t: t.rollback(OTHER_TEAM, NAME),
        lambda t: t.delete(OTHER_TEAM, NAME),
        lambda t: t.update(OTHER_TEAM, NAME, public=False),
        lambda t: t.own_build(OTHER_TEAM, NAME, "1"),
    ],
)
async def test_another_team_changes_nothing(templates: Templates, call: Call) -> None:
    await make(templates)
    await make(templates)
    await refused(call(templates), Code.NOT_FOUND, "'app' not found")
    await templates.update(TEAM, NAME, public=True)
    await refused(call(templates), Code.PERMISSION_DENIED, "belongs to another team")
    assert await tagged(templates) == {"default": 2, "latest": 2}
    assert [tag.tag for tag in await templates.tags(OTHER_TEAM, NAME)] == ["default", "latest"]


@pytest.mark.parametrize("tag", ["v1.2.3", "0.1.0", "v2.0.0-rc.1"])
async def test_a_version_never_moves(templates: Templates, tag: str) -> None:
    await make(templates, tag)
    await make(templates)
    message = f"tag '{tag}' of template 'app' belongs to build 1"
    assign = templates.assign_tags
    await refused(assign(TEAM, "app@2", ["x", tag]), Code.CONFLICT, message)
    await refused(begin(templates, tag), Code.CONFLICT, message)
    await refused(templates.check_tags(TEAM, NAME, ["x", tag]), Code.CONFLICT, message)
    await refused(templates.rollback(TEAM, NAME, tag), Code.CONFLICT, "is a version, which never moves")
    await templates.remove_tags(TEAM, NAME, [tag])
    await refused(assign(TEAM, "app@2", [tag]), Code.CONFLICT, message)
    await refused(begin(templates, tag), Code.CONFLICT, message)
    assert await tagged(templates) == {"default": 2, "latest": 2}
    await assign(TEAM, "app@1", [tag])
    assert (await tagged(templates))[tag] == 1


async def test_a_check_of_tags_changes_nothing(templates: Templates) -> None:
    assert await templates.check_tags(TEAM, "new:v1.0.0", ["x"]) == ("v1.0.0", "x")
    await refused(templates.get_own(TEAM, "new"), Code.NOT_FOUND, "'new' not found")
    await make(templates, "x")
    assert await templates.check_tags(TEAM, NAME, ["x", "v1.0.0"]) == ("x", "v1.0.0")
    assert (await begin(templates, "v1.0.0")).number == 2


async def test_of_two_builds_of_a_version_the_first_to_end_has_it(templates: Templates) -> None:
    first, second = await begin(templates, "v1.0.0", "x"), await begin(templates, "v1.0.0", "x")
    await finish(templates, second)
    await refused(finish(templates, first), Code.CONFLICT, "belongs to build 2")
    assert await tagged(templates) == {"v1.0.0": 2, "x": 2}
    assert (await templates.build(TEAM, NAME, first.build_id)).status == "building"
    await templates.fail(first.build_id, "too late")


async def test_a_failed_build_takes_no_tag_not_even_a_version(templates: Templates) -> None:
    failed = await begin(templates, "v1.0.0", "x")
    await templates.fail(failed.build_id, "broken")
    assert await tagged(templates) == {}
    await make(templates, "v1.0.0")
    assert await tagged(templates) == {"v1.0.0": 2}


async def test_an_older_build_that_ends_later_moves_nothing_back(templates: Templates) -> None:
    older, newer = await begin(templates, *BOTH, "beta"), await begin(templates)
    await finish(templates, newer)
    await finish(templates, older)
    assert await tagged(templates) == {"default": 2, "latest": 2, "beta": 1}


async def test_nor_when_the_newer_was_taken_back_or_removed_meanwhile(templates: Templates) -> None:
    await make(templates)
    older, newer = await begin(templates), await begin(templates)
    await finish(templates, newer)
    await templates.rollback(TEAM, NAME)
    await templates.remove_tags(TEAM, NAME, ["default"])
    await finish(templates, older)
    assert await tagged(templates) == {"latest": 1}
    await make(templates)
    assert await tagged(templates) == {"default": 4, "latest": 4}


async def test_latest_is_the_default_where_nobody_set_it(templates: Templates) -> None:
    build = await make(templates, "default")
    assert (await templates.resolve(TEAM, "app:latest")).build_id == build.build_id
    assert (await templates.build(TEAM, NAME, "latest")).build_id == build.build_id
    await make(templates, "latest")
    assert (await templates.resolve(TEAM, "app:latest")).layers == ("layer-2",)
    assert (await templates.resolve(TEAM, "app")).layers == ("layer-1",)


async def test_rollback_goes_back_step_by_step_and_moves_both(templates: Templates) -> None:
    for _ in range(3):
        await make(templates)
    assert (await templates.resolve(TEAM, NAME)).layers == ("layer-3",)
    assert await templates.rollback(TEAM, NAME) == RolledBack(BOTH, 3, 2)
    assert (await templates.resolve(TEAM, NAME)).layers == ("layer-2",)
    assert (await templates.resolve(TEAM, "app:latest")).layers == ("layer-2",)
    assert await templates.rollback(TEAM, NAME, "default") == RolledBack(BOTH, 2, 1)
    await refused(templates.rollback(TEAM, NAME), Code.CONFLICT, "no build before build 1")


async def test_what_was_taken_back_is_not_gone_back_to(templates: Templates) -> None:
    for _ in range(2):
        await make(templates)
    await templates.rollback(TEAM, NAME)
    await make(templates)
    assert await templates.rollback(TEAM, NAME) == RolledBack(BOTH, 3, 1)


async def test_rollback_to_a_build_and_forward_again(templates: Templates) -> None:
    for _ in range(3):
        await make(templates)
    assert await templates.rollback(TEAM, NAME, to=1) == RolledBack(BOTH, 3, 1)
    assert await templates.rollback(TEAM, NAME, to=1) == RolledBack(BOTH, 1, 1)
    assert await templates.rollback(TEAM, NAME, to=3) == RolledBack(BOTH, 1, 3)
    assert await templates.rollback(TEAM, NAME) == RolledBack(BOTH, 3, 1)


async def test_tags_that_have_parted_are_rolled_back_alone(templates: Templates) -> None:
    for _ in range(2):
        await make(templates, *BOTH, "x")
    await make(templates, "latest")
    assert await templates.rollback(TEAM, NAME) == RolledBack(("latest",), 3, 2)
    assert await templates.rollback(TEAM, NAME) == RolledBack(BOTH, 2, 1)
    assert await templates.rollback(TEAM, NAME, "x") == RolledBack(("x",), 2, 1)


async def test_rollback_of_latest_where_only_default_is_set(templates: Templates) -> None:
    for _ in range(2):
        await make(templates, "default")
    assert await templates.rollback(TEAM, NAME) == RolledBack(("default",), 2, 1)


async def test_where_no_rollback_can_go(templates: Templates) -> None:
    await make(templates)
    failed, going_on = await begin(templates), await begin(templates)
    await templates.fail(failed.build_id, "broken")
    rollback = templates.rollback
    await refused(rollback(TEAM, NAME, to=2), Code.CONFLICT, "could not be made: broken")
    await refused(rollback(TEAM, NAME, to=going_on.number), Code.UNAVAILABLE, "still being made")
    await refused(rollback(TEAM, NAME, to=9), Code.NOT_FOUND, "no build '9'")
    await refused(rollback(TEAM, NAME, "none"), Code.NOT_FOUND, "no tag 'none'")
    await refused(rollback(TEAM, "none"), Code.NOT_FOUND, "'none' not found")
    assert await tagged(templates) == {"default": 1, "latest": 1}


async def test_a_tag_assigned_while_a_build_goes_on_stands_for_what_is_ready(templates: Templates) -> None:
    await make(templates)
    build = await begin(templates)
    await templates.assign_tags(TEAM, "app:default", ["v1.0.0"])
    await refused(templates.assign_tags(TEAM, "app@2", ["x"]), Code.UNAVAILABLE, "still being made")
    await finish(templates, build)
    assert await tagged(templates) == {"default": 2, "latest": 2, "v1.0.0": 1}


@pytest.mark.parametrize(
    ("builds", "path"),
    [("", ""), ("123", "123"), ("1231", "1"), ("12314", "14"), ("1232", "12"), ("12-3", "123"), ("1-", "1")],
)
def test_the_way_back(builds: str, path: str) -> None:
    """Each character is a build; `-` is a removal."""
    at = datetime.now(UTC)
    moves = [Move("t", None if b == "-" else b, None, at) for b in builds]
    assert "".join(way_back(moves)) == path


# Two servers over one database: what one of them alone does is in order already.


@pytest.fixture
async def pair(url: str, templates: Templates) -> tuple[Templates, Database]:
    database = Database(url)
    await database.start()
    return Templates(database), database


async def test_two_rollbacks_at_once_go_two_steps(
    templates: Templates, pair: tuple[Templates, Database]
) -> None:
    for _ in range(3):
        await make(templates)
    other, database = pair
    done = await asyncio.gather(templates.rollback(TEAM, NAME), other.rollback(TEAM, NAME))
    assert sorted((d.from_number, d.to_number) for d in done) == [(2, 1), (3, 2)]
    assert await tagged(templates) == {"default": 1, "latest": 1}
    await database.close()


async def test_two_builds_that_begin_at_once_get_two_numbers(
    templates: Templates, pair: tuple[Templates, Database]
) -> None:
    await make(templates)
    other, database = pair
    begun = await asyncio.gather(*(begin(each) for each in (templates, other) * 5))
    assert sorted(build.number for build in begun) == list(range(2, 12))
    await asyncio.gather(*(finish(each, b) for each, b in zip((templates, other) * 5, begun, strict=True)))
    assert await tagged(templates) == {"default": 11, "latest": 11}
    await database.close()


async def test_one_build_is_finished_once(templates: Templates, pair: tuple[Templates, Database]) -> None:
    build = await begin(templates)
    other, database = pair
    both = await asyncio.gather(finish(templates, build), finish(other, build), return_exceptions=True)
    assert [isinstance(each, BermError) for each in both].count(True) == 1
    await database.close()
