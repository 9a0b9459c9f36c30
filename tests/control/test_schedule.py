"""What a build has to do, and the keys of its layers: what changes a key, and what does not."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from berm.control import schedule
from berm.control.images import Ground
from berm.control.provision import added_account
from berm.templates.plan import Action, Base, Copy, Directory, Inline, Mount, Plan, Run, Settings, Stage, Step

DEBIAN = Base("image", "debian:12", "sha256:" + "d" * 64)
ALPINE = Base("image", "alpine:3", "sha256:" + "a" * 64)
MINE = Base("template", "mine")
FIRST = Base("stage", "0")
EMPTY = Base("scratch")
HASHES = [letter * 64 for letter in "abc"]


def run(text: str, **fields: object) -> Run:
    return Run(("/bin/sh", "-c", text), **fields)  # type: ignore[arg-type]


def steps(*actions: Action | None) -> tuple[Step, ...]:
    return tuple(Step(f"step {number}", number, str(number), action) for number, action in enumerate(actions))


def stage(base: Base, *actions: Action | None) -> Stage:
    return Stage("", base, steps(*actions))


def image(base: Base) -> Ground:
    return Ground(Base("image", digest=base.digest), (f"img-{base.digest[-1]}",))


def template(build_id: str, *, has_user: bool = True) -> Ground:
    return Ground(Base("template", "mine", build_id), (build_id,), Settings(), has_user)


GROUNDS: Mapping[Base, Ground] = {
    DEBIAN: image(DEBIAN),
    ALPINE: image(ALPINE),
    MINE: template("build-1"),
    EMPTY: Ground(EMPTY, ()),
}


def keys(plan: Plan, grounds: Mapping[Base, Ground] = GROUNDS, scope: str = "team") -> list[list[str]]:
    """Of the steps of each stage, without the one that adds the account."""
    found = [[task.key for task in course.tasks] for course in schedule.courses(plan, grounds, scope)]
    return [*found[:-1], found[-1][:-1]]


def same(one: Sequence[str], other: Sequence[str]) -> list[bool]:
    return [first == second for first, second in zip(one, other, strict=True)]


# What is needed


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (None, set()),
        (run("x"), set()),
        (Directory("/x"), set()),
        (Copy(("a",), "/a", files_hash=HASHES[0]), set()),
        (Copy(("a",), "/a", base=DEBIAN), set()),
        (Copy(("a",), "/a", base=Base("stage", "3")), {3}),
        (
            run(
                "x",
                mounts=(
                    Mount("bind", "/a", base=Base("stage", "1")),
                    Mount("bind", "/b", base=Base("stage", "12")),
                    Mount("cache", "/c", base=Base("stage", "1")),
                    Mount("bind", "/d", base=DEBIAN),
                    Mount("tmpfs", "/e"),
                ),
            ),
            {1, 12},
        ),
    ],
)
def test_the_stages_that_a_step_needs(action: Action | None, expected: set[int]) -> None:
    assert schedule.needs(action) == expected


def test_the_files_that_are_needed() -> None:
    uploaded = Mount("bind", "/m", files_hash=HASHES[1])
    plan = Plan(
        (
            stage(
                DEBIAN, Copy(("a",), "/a", files_hash=HASHES[0]), Copy((), "/b", inline=(Inline("b", ""),))
            ),
            stage(FIRST, run("x", mounts=(uploaded, Mount("tmpfs", "/t"))), None),
            stage(DEBIAN, Copy(("a",), "/a", files_hash=HASHES[2]), Copy(("a",), "/x", files_hash=HASHES[0])),
        )
    )
    assert schedule.files(plan) == set(HASHES)


def test_everything_from_elsewhere_is_a_base_once() -> None:
    plan = Plan(
        (
            stage(DEBIAN, Copy(("a",), "/a", base=ALPINE), Copy(("b",), "/b", base=DEBIAN)),
            stage(FIRST, run("x", mounts=(Mount("bind", "/m", base=MINE),))),
            stage(EMPTY, Copy(("a",), "/a", base=FIRST)),
        )
    )
    assert schedule.bases(plan) == [DEBIAN, ALPINE, MINE, EMPTY]


# The account


def accounts(plan: Plan, grounds: Mapping[Base, Ground] = GROUNDS) -> list[list[str]]:
    """What each stage does, by the names of its steps; the account's step has to be one."""
    found = schedule.with_user(plan, grounds)
    for step in (step for each in found for step in each.steps if not step.name.isdecimal()):
        assert isinstance(step.action, Run)
        assert added_account(step.action.argv) == "user"
    return [[step.name for step in each.steps] for each in found]


@pytest.mark.parametrize("base", [DEBIAN, MINE, FIRST, EMPTY])
def test_a_dockerfile_gets_its_account_last(base: Base) -> None:
    plan = Plan((stage(DEBIAN, run("a")), stage(base, run("b"))))
    assert accounts(plan) == [["0"], ["0", "finalize"]]


@pytest.mark.parametrize(
    ("base", "expected"), [(DEBIAN, ["base", "0"]), (MINE, ["0"]), (FIRST, ["base", "0"])]
)
def test_build_steps_get_it_first_unless_their_base_has_it(base: Base, expected: list[str]) -> None:
    plan = Plan((stage(DEBIAN, run("a")), stage(base, run("b"))), provision="first")
    assert accounts(plan) == [["0"], expected]
    assert accounts(plan, {**GROUNDS, MINE: template("old", has_user=False)})[-1] == (
        ["base", "0"] if base == MINE else expected
    )


# Keys


def test_a_change_in_a_step_is_one_in_all_after_it() -> None:
    before = Plan((stage(DEBIAN, run("a"), run("b"), run("c"), run("d")),))
    after = Plan((stage(DEBIAN, run("a"), run("b"), run("changed"), run("d")),))
    assert same(*keys(before), *keys(after)) == [True, True, False, False]
    assert schedule.courses(before, GROUNDS, "team")[0].key != schedule.courses(after, GROUNDS, "team")[0].key


def test_all_keys_of_a_plan_are_different() -> None:
    (found,) = keys(Plan((stage(DEBIAN, run("a"), run("a"), Directory("/a")),)))
    assert len(set(found)) == 3


def test_what_changes_no_files_changes_no_key() -> None:
    plan = Plan((stage(DEBIAN, run("a"), run("b")),))
    (before,) = keys(plan)
    (after,) = keys(Plan((stage(DEBIAN, run("a"), None, run("b")),), Settings(env={"A": "b"}), force=True))
    assert after == [before[0], before[0], before[1]], "a step without an action has the key of what is there"
    moved = tuple(replace(step, line=99, text="as written", name="7") for step in plan.stages[0].steps)
    assert keys(Plan((replace(plan.stages[0], name="named", steps=moved),))) == [before]


def test_the_key_of_a_course_is_that_of_its_last_layer() -> None:
    with_config, last = schedule.courses(
        Plan((stage(DEBIAN, run("a"), None), stage(DEBIAN))), GROUNDS, "team"
    )
    assert with_config.key == with_config.tasks[0].key
    assert last.key == last.tasks[-1].key
    assert [task.step.name for task in last.tasks] == ["finalize"]


@pytest.mark.parametrize(
    "action",
    [
        Copy(("x",), "/x", base=FIRST),
        run("x", mounts=(Mount("bind", "/m", base=FIRST),)),
        run("x", mounts=(Mount("cache", "/m", id="m", base=FIRST),)),
    ],
)
def test_a_change_in_a_stage_is_one_in_what_is_taken_from_it(action: Action) -> None:
    def plan(first: str) -> Plan:
        return Plan((stage(ALPINE, run(first)), stage(DEBIAN, run("before"), action, run("after"))))

    assert same(keys(plan("one"))[1], keys(plan("other"))[1]) == [True, False, False]


def test_a_change_in_a_stage_is_one_in_those_on_it_and_in_no_other() -> None:
    def plan(first: str) -> Plan:
        return Plan((stage(DEBIAN, run(first)), stage(FIRST, run("a")), stage(DEBIAN, run("b"))))

    assert keys(plan("one"))[1] != keys(plan("other"))[1]
    assert keys(plan("one"))[2] == keys(plan("other"))[2]


def test_it_makes_no_difference_where_an_equal_stage_stands() -> None:
    copy = Copy(("x",), "/x", base=FIRST)
    later = replace(copy, base=Base("stage", "1"))
    one = Plan((stage(ALPINE, run("a")), stage(DEBIAN, copy)))
    other = Plan((stage(DEBIAN, run("unlike")), stage(ALPINE, run("a")), stage(DEBIAN, later)))
    assert keys(one)[-1] == keys(other)[-1]


def test_a_stage_on_a_stage_goes_on_with_its_key() -> None:
    apart = keys(Plan((stage(DEBIAN, run("a")), stage(FIRST, run("b")))))
    assert [key for each in apart for key in each] == keys(Plan((stage(DEBIAN, run("a"), run("b")),)))[0]


def test_teams_share_no_key() -> None:
    plan = Plan((stage(DEBIAN, run("a")), stage(EMPTY, Copy(("x",), "/x", base=FIRST))))
    mine, theirs = keys(plan, scope="mine"), keys(plan, scope="theirs")
    assert not {key for each in mine for key in each} & {key for each in theirs for key in each}


def test_an_image_is_what_its_digest_says() -> None:
    named = replace(DEBIAN, name="registry.test/other:tag")
    plan, renamed = Plan((stage(DEBIAN, run("a")),)), Plan((stage(named, run("a")),))
    assert keys(plan) == keys(renamed, {named: image(named)})
    moved = replace(DEBIAN, digest=ALPINE.digest)
    assert keys(plan) != keys(Plan((stage(moved, run("a")),)), {moved: image(moved)})


@pytest.mark.parametrize(
    "made",
    [
        stage(MINE, run("a")),
        stage(DEBIAN, Copy(("x",), "/x", base=MINE)),
        stage(DEBIAN, run("a", mounts=(Mount("bind", "/m", base=MINE),))),
    ],
)
def test_a_template_is_its_build(made: Stage) -> None:
    def found(ground: Ground) -> list[list[str]]:
        return keys(Plan((made,)), {**GROUNDS, MINE: ground})

    assert found(template("build-1")) == found(template("build-1"))
    assert found(template("build-1")) != found(template("build-2"))


def test_settled_actions_name_what_their_bases_are_by_now() -> None:
    copy, mounting = Copy(("x",), "/x", base=MINE), run("a", mounts=(Mount("bind", "/m", base=MINE),))
    known = GROUNDS[MINE].base
    assert schedule.settle(copy, GROUNDS) == replace(copy, base=known)
    assert schedule.settle(mounting, GROUNDS) == replace(mounting, mounts=(Mount("bind", "/m", base=known),))
    for action in (Copy(("x",), "/x", base=FIRST), Directory("/x"), run("a")):
        assert schedule.settle(action, GROUNDS) == action
