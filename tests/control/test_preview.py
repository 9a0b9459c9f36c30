"""The dry run beyond one stage: states and reasons, how it went the last time, and that nothing changes."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import pytest

from berm.control.control import Control
from berm.control.layers import Layers
from berm.control.preview import Preview, StepState
from berm.control.steps import files_name
from berm.errors import BermError, Code
from berm.models import Principal
from berm.templates.plan import Action, Base, Copy, Directory, Mount, Plan, Settings, Stage, Step
from tests.control.test_builds import BASE, made, plan, run
from tests.fakes import FakeNode

ONE, OTHER = "a" * 64, "b" * 64
FIRST = Base("stage", "0")

Shown = dict[str, tuple[StepState, str]]
CACHED = (StepState.CACHED, "")
CONFIG = (StepState.CONFIG, "")
NEW = (StepState.BUILD, "it is new")
CHANGED = (StepState.BUILD, "what it is made from has changed")
REMOVED = (StepState.BUILD, "its layer was removed")


def on(name: str) -> tuple[StepState, str]:
    return StepState.BUILD, f"it stands on step {name}, which is carried out"


def step(name: str, action: Action, text: str = "") -> Step:
    return Step(text or f"{action.kind} {name}", name=name, action=action)


def copy(name: str, files_hash: str = ONE) -> Step:
    return step(name, Copy(("x",), "/x", files_hash=files_hash), "COPY x /x")


def stages(*each: tuple[Base, Sequence[Step]]) -> Plan:
    found = tuple(Stage(f"s{number}", base, tuple(steps)) for number, (base, steps) in enumerate(each))
    return Plan(found, Settings(user="user"))


async def preview(control: Control, who: Principal, wanted: Plan, name: str = "mine") -> Preview:
    return await control.builds.preview(who, name, wanted)


async def shown(control: Control, who: Principal, wanted: Plan) -> Shown:
    return {step.name: (step.state, step.reason) for step in (await preview(control, who, wanted)).steps}


async def test_of_a_new_template_everything_is_new(control: Control, who: Principal) -> None:
    wanted = plan(run("one"), Step("ENV a=b", name="2"), copy("3"))
    found = await preview(control, who, wanted)
    assert (found.template_id, found.newest, found.files) == ("", None, {ONE: False})
    assert [each.last for each in found.steps] == [None] * 4
    assert await shown(control, who, wanted) == {
        "1": NEW,
        "2": CONFIG,
        "3": on("1"),
        "finalize": on("1"),
    }


async def test_what_was_built_is_cached_and_its_time_is_known(control: Control, who: Principal) -> None:
    wanted = plan(run("one"), Step("ENV a=b", name="2", line=7))
    build = await made(control, who, wanted)
    found = await preview(control, who, wanted)
    assert await shown(control, who, wanted) == {"1": CACHED, "2": CONFIG, "finalize": CACHED}
    assert found.template_id == build.template_id
    assert found.newest and found.newest.build_id == build.build_id
    first, config, _ = found.steps
    assert first.last and first.last.finished_at
    assert (first.last.size, first.last.duration_ms) == (1000, build.steps[0].duration_ms)
    assert (config.text, config.line, config.last) == ("ENV a=b", 7, None)


async def test_the_cache_is_that_of_all_templates_and_the_past_that_of_one(
    control: Control, who: Principal
) -> None:
    await made(control, who, plan(run("one"), run("two", "2")), "another")
    wanted = plan(run("one"), run("other", "2"))
    assert await shown(control, who, wanted) == {"1": CACHED, "2": NEW, "finalize": on("2")}


async def test_other_files_are_a_change(control: Control, who: Principal, node: FakeNode) -> None:
    node.received[files_name(who.team_id, OTHER)] = b""
    await made(control, who, plan(run("one"), copy("2")))
    wanted = plan(run("one"), copy("2", OTHER))
    found = await preview(control, who, wanted)
    assert await shown(control, who, wanted) == {"1": CACHED, "2": CHANGED, "finalize": on("2")}
    assert found.files == {OTHER: True}
    last = found.steps[1].last
    assert last and (last.size, last.finished_at) == (1000, None), "how it went with the other files"


async def test_files_of_another_team_are_not_there(control: Control, who: Principal, node: FakeNode) -> None:
    node.received[files_name("another-team", ONE)] = b""
    assert (await preview(control, who, plan(copy("1")))).files == {ONE: False}


async def test_a_removed_layer_is_told(control: Control, who: Principal, node: FakeNode) -> None:
    build = await made(control, who, plan(run("one"), run("two", "2")))
    await node.drop_layers([build.layers[3]])
    assert await shown(control, who, plan(run("one"), run("two", "2"))) == {
        "1": CACHED,
        "2": REMOVED,
        "finalize": on("2"),
    }


async def test_two_steps_with_one_text_are_told_apart(
    control: Control, who: Principal, node: FakeNode
) -> None:
    wanted = stages((BASE, [run("same")]), (BASE, [run("before", "2"), run("same", "3")]))
    await made(control, who, wanted)
    await node.drop_layers(node.layers())
    assert await shown(control, who, wanted) == {
        "1": REMOVED,
        "2": REMOVED,
        "3": on("2"),
        "finalize": on("2"),
    }


async def test_without_the_cache_everything_is_carried_out(control: Control, who: Principal) -> None:
    wanted = stages((BASE, [run("one")]), (FIRST, [Step("ENV a=b", name="2"), run("three", "3")]))
    await made(control, who, wanted)
    not_used = (StepState.BUILD, "the cache is not used")
    assert await shown(control, who, replace(wanted, force=True)) == {
        "1": not_used,
        "2": CONFIG,
        "3": not_used,
        "finalize": not_used,
    }


async def test_a_forced_step_takes_those_after_it_along(control: Control, who: Principal) -> None:
    await made(control, who, plan(run("one"), run("two", "2"), run("three", "3")))
    forced = plan(run("one"), replace(run("two", "2"), force=True), run("three", "3"))
    assert await shown(control, who, forced) == {
        "1": CACHED,
        "2": (StepState.BUILD, "it is asked for"),
        "3": on("2"),
        "finalize": on("2"),
    }


async def test_a_stage_stands_on_the_one_it_begins_with(control: Control, who: Principal) -> None:
    def wanted(first: str) -> Plan:
        return stages((BASE, [run(first)]), (BASE, [run("two", "2")]), (FIRST, [run("three", "3")]))

    await made(control, who, wanted("one"))
    assert await shown(control, who, wanted("other")) == {
        "1": NEW,
        "2": CACHED,
        "3": on("1"),
        "finalize": on("1"),
    }


@pytest.mark.parametrize(
    "taking",
    [
        step("2", Copy(("x",), "/x", base=FIRST)),
        run("use", "2", mounts=(Mount("bind", "/m", base=FIRST),)),
    ],
)
async def test_what_is_taken_from_a_changed_stage_has_changed(
    control: Control, who: Principal, taking: Step
) -> None:
    def wanted(first: str) -> Plan:
        return stages((BASE, [run(first)]), (BASE, [run("own", "0"), taking, run("three", "3")]))

    await made(control, who, wanted("one"))
    assert await shown(control, who, wanted("other")) == {
        "1": NEW,
        "0": CACHED,
        "2": CHANGED,
        "3": on("2"),
        "finalize": on("2"),
    }


async def test_another_build_of_the_base_is_a_change(control: Control, who: Principal) -> None:
    wanted = plan(run("one"))
    await made(control, who, wanted)
    base = await control.templates.begin(who.team_id, "base")
    await control.templates.finish(base, ["bottom", "other"], Settings(user="user"))
    assert await shown(control, who, wanted) == {"1": CHANGED, "finalize": on("1")}


async def test_build_steps_on_an_image_add_the_account_first(control: Control, who: Principal) -> None:
    wanted = replace(stages((Base("scratch"), [run("one")])), provision="first")
    assert await shown(control, who, wanted) == {"base": NEW, "1": on("base")}


async def test_steps_are_told_with_their_stage(control: Control, who: Principal) -> None:
    found = await preview(control, who, stages((BASE, [run("one")]), (BASE, [run("two", "2")])))
    assert [(each.stage, each.name) for each in found.steps] == [("s0", "1"), ("s1", "2"), ("s1", "finalize")]


async def test_a_base_that_is_not_there_is_an_error(control: Control, who: Principal) -> None:
    with pytest.raises(BermError) as caught:
        await preview(control, who, stages((Base("template", "missing"), [run("one")])))
    assert caught.value.code is Code.NOT_FOUND


async def test_looking_changes_nothing(
    control: Control, who: Principal, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    await made(control, who, plan(run("one")))
    commands, layers = list(node.commands), node.layers()

    async def touch(_layers: Layers, _keys: Collection[str]) -> None:
        raise AssertionError("the dry run counts as a use")

    monkeypatch.setattr(Layers, "touch", touch)
    await preview(control, who, plan(run("one"), run("two", "2"), copy("3")))
    await preview(control, who, plan(run("one")), "another")
    assert (node.commands, node.layers(), node.copies) == (commands, layers, [])
    with pytest.raises(BermError):
        await control.templates.get(who.team_id, "another")


LONG = stages(
    (BASE, [run("one"), copy("2"), Step("ENV a=b", name="3")]),
    (FIRST, [step("4", Directory("/d"))]),
    (BASE, [step("5", Copy(("x",), "/x", base=Base("stage", "1"))), run("six", "6")]),
)


@pytest.mark.parametrize("forced", ["", "1", "2", "4", "5", "6"])
async def test_a_build_does_what_was_shown(control: Control, who: Principal, forced: str) -> None:
    await made(control, who, LONG)
    wanted = replace(
        LONG,
        stages=tuple(
            replace(one, steps=tuple(replace(each, force=each.name == forced) for each in one.steps))
            for one in LONG.stages
        ),
    )
    states = {name: state for name, (state, _) in (await shown(control, who, wanted)).items()}
    build = await made(control, who, wanted)
    assert {each.name: each.cached for each in build.steps} == {
        name: state is not StepState.BUILD for name, state in states.items()
    }
