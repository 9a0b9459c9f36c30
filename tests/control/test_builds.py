"""Builds over a real database and a node in memory: what is done, what is cached, what is recorded."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import pytest

from berm.control.builds import StepsRequest
from berm.control.control import Control
from berm.control.preview import StepState
from berm.errors import BermError, Code
from berm.models import Principal, SandboxSpec, Template
from berm.node.interface import Command
from berm.store.builds import UNFINISHED, Build, Cause, Status
from berm.templates.e2b import BuildStep
from berm.templates.plan import Base, Copy, Health, Mount, Plan, Run, Settings, Stage, Step
from tests.fakes import FakeNode, Output

BASE = Base("template", "base")
HASH = "a" * 64


def run(text: str, name: str = "1", **fields: object) -> Step:
    return Step(f"RUN {text}", name=name, action=Run(("/bin/sh", "-c", text), **fields))  # type: ignore[arg-type]


def plan(*steps: Step, settings: Settings = Settings(user="user")) -> Plan:  # noqa: B008 - frozen
    return Plan((Stage("", BASE, steps),), settings)


async def ended(control: Control, who: Principal, build: Build) -> Build:
    """The build when it has come to its end."""
    while True:
        news = control.builds.changed(build.build_id)
        found = await control.templates.build(who.team_id, build.template_id, build.build_id)
        if found.status not in UNFINISHED:
            news.cancel()
            return found
        await news


async def begin(
    control: Control, who: Principal, wanted: Plan, name: str = "mine", **options: object
) -> Build:
    build = await control.templates.begin(who.team_id, name)
    await control.builds.submit(who, build, wanted, {}, **options)  # type: ignore[arg-type]
    return build


async def made(control: Control, who: Principal, wanted: Plan, name: str = "mine") -> Build:
    return await ended(control, who, await begin(control, who, wanted, name))


async def messages(control: Control, build: Build) -> list[str]:
    return [line.message for line in await control.templates.lines(build.build_id, 0, 1000)]


def commands(node: FakeNode) -> list[str]:
    """What was run, but for what adds accounts."""
    return [command.argv[-1] for _, command in node.commands if command.argv[-1] != "user"]


async def test_a_build_makes_layers_and_is_tagged(control: Control, who: Principal, node: FakeNode) -> None:
    build = await made(control, who, plan(run("one"), run("two", "2")))

    assert (build.status, build.reason) == (Status.READY, None)
    base = await control.templates.resolve(who.team_id, "base")
    template = await control.templates.resolve(who.team_id, "mine")
    assert template.layers[: len(base.layers)] == base.layers
    assert len(template.layers) == len(base.layers) + 3, "two steps and the account"
    assert set(template.layers[len(base.layers) :]) <= node.settled, "a layer is recorded once it is on disk"
    assert [step.cached for step in build.steps] == [False, False, False]
    assert await messages(control, build) == [
        *("[1] RUN one", "/bin/sh -c one"),
        *("[2] RUN two", "/bin/sh -c two"),
        *((await messages(control, build))[4:]),
    ]
    assert not node.running()


async def test_what_was_built_is_not_built_again(control: Control, who: Principal, node: FakeNode) -> None:
    first = await made(control, who, plan(run("one"), run("two", "2")))
    node.commands.clear()

    second = await made(control, who, plan(run("one"), run("two", "2")))
    other = await made(control, who, plan(run("one"), run("other", "2")), "other")

    assert second.layers == first.layers
    assert all(step.cached for step in second.steps)
    assert commands(node) == ["other"]
    assert other.layers[:-2] == first.layers[:-2]
    assert second.digest == first.digest != other.digest


async def test_without_the_cache_everything_is_built_again(
    control: Control, who: Principal, node: FakeNode
) -> None:
    first = await made(control, who, plan(run("one")))
    second = await made(control, who, replace(plan(run("one")), force=True))

    assert commands(node) == ["one", "one"]
    assert set(first.layers) & set(second.layers) == {"bottom", "top"}


async def test_a_forced_step_is_built_again_with_those_after_it(
    control: Control, who: Principal, node: FakeNode
) -> None:
    await made(control, who, plan(run("one"), run("two", "2"), run("three", "3")))
    node.commands.clear()

    await made(control, who, plan(run("one"), replace(run("two", "2"), force=True), run("three", "3")))

    assert commands(node) == ["two", "three"]


async def test_a_layer_that_is_gone_is_made_again(control: Control, who: Principal, node: FakeNode) -> None:
    first = await made(control, who, plan(run("one"), run("two", "2")))
    await node.drop_layers([first.layers[2]])
    node.commands.clear()

    second = await made(control, who, plan(run("one"), run("two", "2")))

    assert second.status is Status.READY
    assert commands(node) == ["one", "two"]


async def failing(_spec: SandboxSpec, command: Command, output: Output) -> int:
    output("it says why")
    return 3 if "fail" in command.argv else 0


async def test_a_failing_step_says_what_and_why(control: Control, who: Principal, node: FakeNode) -> None:
    node.program = failing

    build = await made(control, who, plan(run("one"), run("fail", "2"), run("three", "3")))

    assert (build.status, build.cause, build.reason_step) == (Status.ERROR, Cause.STEP_FAILED, "2")
    assert build.reason == "failed to run command 'fail': command failed: exit status 3\nit says why"
    assert [step.name for step in build.steps] == ["1"], "what was finished is on record"
    with pytest.raises(BermError) as refused:
        await control.templates.resolve(who.team_id, "mine")
    assert refused.value.code is Code.CONFLICT
    assert not node.running()


async def test_after_a_failure_the_finished_steps_are_cached(
    control: Control, who: Principal, node: FakeNode
) -> None:
    node.program = failing
    await made(control, who, plan(run("one"), run("fail", "2")))
    node.commands.clear()

    await made(control, who, plan(run("one"), run("mended", "2")))

    assert commands(node) == ["mended"]


async def test_what_failed_does_not_move_a_tag(control: Control, who: Principal, node: FakeNode) -> None:
    good = await made(control, who, plan(run("one")))
    node.program = failing

    bad = await made(control, who, plan(run("fail")))

    assert (bad.number, good.number) == (2, 1)
    assert (await control.templates.resolve(who.team_id, "mine")).build_id == good.build_id


async def no_such_user(_spec: SandboxSpec, command: Command, _output: Output) -> int:
    if command.user == "nobody-here":
        raise BermError(Code.INVALID_ARGUMENT, "unauthenticated: invalid username: 'nobody-here'")
    return 0


async def test_a_missing_user_is_named(control: Control, who: Principal, node: FakeNode) -> None:
    node.program = no_such_user

    build = await made(control, who, plan(run("whoami", user="nobody-here")))

    assert build.reason == (
        "failed to run command 'whoami': command failed: unauthenticated: invalid username: 'nobody-here'"
    )


class Gate:
    """A program that waits in the commands named `wait`; `arrived` is released for each."""

    def __init__(self) -> None:
        self.arrived = asyncio.Semaphore(0)
        self.open = asyncio.Event()

    async def __call__(self, _spec: SandboxSpec, command: Command, _output: Output) -> int:
        if "wait" in command.argv:
            self.arrived.release()
            await self.open.wait()
        return 0


async def test_a_cancelled_build_leaves_nothing_half_made(
    control: Control, who: Principal, node: FakeNode
) -> None:
    node.program = gate = Gate()
    build = await begin(control, who, plan(run("one"), run("wait", "2")))
    await gate.arrived.acquire()

    await control.builds.cancel(who, "mine", build.build_id)

    found = await ended(control, who, build)
    assert (found.status, found.cause) == (Status.ERROR, Cause.CANCELLED)
    assert not node.running()
    gate.open.set()
    node.commands.clear()
    again = await made(control, who, plan(run("one"), run("wait", "2")))
    assert again.status is Status.READY
    assert commands(node) == ["wait"], "it goes on from the cache"


async def test_a_build_that_waits_can_be_cancelled(control: Control, who: Principal) -> None:
    build = await control.templates.begin(who.team_id, "mine")

    await control.builds.cancel(who, "mine", build.build_id)

    assert (await ended(control, who, build)).cause is Cause.CANCELLED


async def test_a_build_ends_when_its_time_is_over(control: Control, who: Principal, node: FakeNode) -> None:
    node.program = Gate()

    build = await begin(control, who, plan(run("wait")), seconds=0.05)

    found = await ended(control, who, build)
    assert (found.cause, found.reason) == (Cause.TIMEOUT, "the build took longer than it may")
    assert not node.running()


async def test_a_server_that_ends_breaks_builds_off(control: Control, who: Principal, node: FakeNode) -> None:
    node.program = gate = Gate()
    build = await begin(control, who, plan(run("wait")))
    await gate.arrived.acquire()

    await control.builds.close()

    found = await control.templates.build(who.team_id, "mine", build.build_id)
    assert (found.status, found.cause) == (Status.ERROR, Cause.INTERRUPTED)
    assert not node.running()


async def test_two_builds_at_once_make_a_layer_once(control: Control, who: Principal, node: FakeNode) -> None:
    node.program = gate = Gate()
    first = await begin(control, who, plan(run("wait")))
    second = await begin(control, who, plan(run("wait")))
    await gate.arrived.acquire()
    gate.open.set()

    found = [await ended(control, who, build) for build in (first, second)]

    assert [build.status for build in found] == [Status.READY, Status.READY]
    assert found[0].layers == found[1].layers
    assert commands(node) == ["wait"]
    assert (await control.templates.resolve(who.team_id, "mine")).build_id == second.build_id


async def test_a_begun_build_cannot_be_begun_again(control: Control, who: Principal) -> None:
    build = await begin(control, who, plan(run("one")))

    with pytest.raises(BermError) as refused:
        await control.builds.submit(who, build, plan(run("two")), {})

    assert refused.value.code is Code.CONFLICT
    await ended(control, who, build)


def two_stages(first: Sequence[Step], second: Sequence[Step]) -> Plan:
    return Plan((Stage("a", BASE, tuple(first)), Stage("b", BASE, tuple(second))), Settings(user="user"))


async def test_stages_that_need_nothing_of_each_other_are_built_side_by_side(
    control: Control, who: Principal, node: FakeNode
) -> None:
    node.program = gate = Gate()

    build = await begin(control, who, two_stages([run("wait", "1")], [run("wait", "2", workdir="/x")]))
    await gate.arrived.acquire()
    await gate.arrived.acquire()
    gate.open.set()

    assert (await ended(control, who, build)).status is Status.READY


async def test_a_copy_from_a_stage_waits_for_it(control: Control, who: Principal, node: FakeNode) -> None:
    node.program = gate = Gate()
    copy = Step("COPY --from=a /x /x", name="2", action=Copy(("x",), "/x", base=Base("stage", "0")))

    build = await begin(control, who, two_stages([run("wait", "1")], [copy]))
    await gate.arrived.acquire()
    assert not node.copies
    gate.open.set()

    assert (await ended(control, who, build)).status is Status.READY
    (copying,) = node.copies
    base = await control.templates.resolve(who.team_id, "base")
    assert copying.layers == base.layers
    assert copying.source[: len(base.layers)] == base.layers
    assert len(copying.source) == len(base.layers) + 1


async def test_a_stage_that_fails_ends_the_others(control: Control, who: Principal, node: FakeNode) -> None:
    gate = Gate()

    async def program(spec: SandboxSpec, command: Command, output: Output) -> int:
        if "fail" in command.argv:
            await gate.arrived.acquire()
            return 1
        return await gate(spec, command, output)

    node.program = program

    build = await made(control, who, two_stages([run("wait", "1")], [run("fail", "2")]))

    assert build.reason_step == "2"
    assert not node.running()


async def test_a_template_that_is_not_there_is_no_base(control: Control, who: Principal) -> None:
    build = await made(control, who, Plan((Stage("", Base("template", "missing")),)))

    assert (build.cause, build.reason_step) == (Cause.BASE_IMAGE, "base")
    assert "'missing' not found" in (build.reason or "")


SECRET = Mount("secret", "/run/secrets/token", id="token", required=True)


async def test_a_secret_is_in_no_log(control: Control, who: Principal, node: FakeNode) -> None:
    async def tells(spec: SandboxSpec, _command: Command, output: Output) -> int:
        for file in spec.files:
            output(f"it is {file.content.decode()}")
        return 0

    node.program = tells
    build = await control.templates.begin(who.team_id, "mine")
    await control.builds.submit(who, build, plan(run("tell", mounts=(SECRET,))), {"token": b"hunter2222"})

    assert "it is ***" in await messages(control, await ended(control, who, build))
    record = repr(await control.templates.build(who.team_id, "mine", build.build_id))
    assert "hunter2222" not in record


async def test_a_secret_that_was_not_given_is_named(control: Control, who: Principal) -> None:
    build = await made(control, who, plan(run("tell", mounts=(SECRET,))))

    assert "the secret 'token' was not given" in (build.reason or "")


async def test_another_secret_makes_no_other_layer(control: Control, who: Principal, node: FakeNode) -> None:
    for value in (b"first value", b"second value"):
        build = await control.templates.begin(who.team_id, "mine")
        await control.builds.submit(who, build, plan(run("use", mounts=(SECRET,))), {"token": value})
        await ended(control, who, build)

    assert commands(node) == ["use"]


async def test_a_start_command_is_ready_before_a_build_is(
    control: Control, who: Principal, node: FakeNode
) -> None:
    tries = 0

    async def third_time(_spec: SandboxSpec, command: Command, _output: Output) -> int:
        nonlocal tries
        tries += command.argv[-1] == "ready"
        return int(command.argv[-1] == "ready" and tries < 3)

    node.program = third_time
    settings = Settings(user="user", start_cmd="serve", ready_cmd="ready")

    build = await made(control, who, plan(run("one"), settings=settings))

    assert build.status is Status.READY
    assert commands(node) == ["one", "serve", "ready", "ready", "ready"]
    assert (await control.templates.resolve(who.team_id, "mine")).start_cmd == "serve"
    assert not node.running()


async def test_a_build_that_is_not_healthy_is_not_tagged(
    control: Control, who: Principal, node: FakeNode
) -> None:
    node.program = failing
    health = Health(("fail",), interval=0.01, start_interval=0.01, retries=2)

    build = await made(control, who, plan(run("one"), settings=Settings(user="user", health=health)))

    assert (build.cause, build.reason_step) == (Cause.HEALTH_CHECK, "finalize")
    assert commands(node) == ["one", "fail", "fail"]
    with pytest.raises(BermError):
        await control.templates.resolve(who.team_id, "mine")


async def test_a_trial_leaves_no_tag(control: Control, who: Principal) -> None:
    build = await begin(control, who, plan(run("one")), trial=True)

    assert (await ended(control, who, build)).status is Status.READY
    with pytest.raises(BermError) as refused:
        await control.templates.resolve(who.team_id, "mine")
    assert refused.value.code is Code.NOT_FOUND


async def test_a_dry_run_tells_what_would_be_done_and_changes_nothing(
    control: Control, who: Principal, node: FakeNode
) -> None:
    await made(control, who, plan(run("one"), run("two", "2"), run("three", "3")))
    node.commands.clear()
    wanted = plan(
        run("one"), Step("ENV a=b", name="2"), run("other", "3"), Step("COPY", name="4", action=_copy())
    )

    found = await control.builds.preview(who, "mine", wanted)

    states = {step.name: (step.state, step.reason) for step in found.steps}
    assert states == {
        "1": (StepState.CACHED, ""),
        "2": (StepState.CONFIG, ""),
        "3": (StepState.BUILD, "it is new"),
        "4": (StepState.BUILD, "it stands on step 3, which is carried out"),
        "finalize": (StepState.BUILD, "it stands on step 3, which is carried out"),
    }
    assert found.files == {HASH: False}
    assert found.newest and found.newest.number == 1
    assert not node.commands and not node.copies


def _copy() -> Copy:
    return Copy(("x",), "/x", files_hash=HASH)


async def test_deleting_a_template_ends_its_builds(control: Control, who: Principal, node: FakeNode) -> None:
    node.program = gate = Gate()
    await begin(control, who, plan(run("wait")))
    await gate.arrived.acquire()

    await control.builds.delete(who, "mine")

    assert not node.running()
    with pytest.raises(BermError):
        await control.templates.get(who.team_id, "mine")


async def test_layers_of_nobody_are_removed(control: Control, who: Principal, node: FakeNode) -> None:
    build = await made(control, who, plan(run("one")))
    node.layer_names |= {"left-behind"}

    await control.builds.collect()

    assert "left-behind" not in node.layers()
    assert set(build.layers[2:]) <= set(node.layers())


async def test_layers_of_a_build_that_goes_on_are_kept(
    control: Control, who: Principal, node: FakeNode
) -> None:
    node.program = gate = Gate()
    build = await begin(control, who, replace(plan(run("one"), run("wait", "2")), force=True))
    await gate.arrived.acquire()
    layers = set(node.layers())

    await control.builds.collect()

    assert layers and set(node.layers()) == layers
    gate.open.set()
    assert (await ended(control, who, build)).status is Status.READY


async def test_layers_are_kept_until_the_build_is_on_record(
    control: Control, who: Principal, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = control.templates.finish

    async def all_of(names: Collection[str]) -> Collection[str]:
        return names

    async def late(*values: Any, **options: Any) -> Template:
        await control.workshop.collect(all_of)
        return await finish(*values, **options)

    monkeypatch.setattr(control.templates, "finish", late)
    build = await made(control, who, plan(run("one")))
    assert set(build.layers[2:]) <= set(node.layers())


async def test_steps_that_nobody_can_carry_out_are_the_definitions_fault(
    control: Control, who: Principal
) -> None:
    build = await control.templates.begin(who.team_id, "mine")
    request = StepsRequest([BuildStep("FROBNICATE")], from_template="base")

    await control.builds.submit_steps(who, build, request)

    found = await ended(control, who, build)
    assert found.cause is Cause.DEFINITION
    assert "step 1 (FROBNICATE)" in (found.reason or "")


async def test_steps_on_a_template_keep_its_start_command(
    control: Control, who: Principal, node: FakeNode
) -> None:
    settings = Settings(user="user", start_cmd="serve", ready_cmd="ready")
    await made(control, who, plan(run("one"), settings=settings))
    build = await control.templates.begin(who.team_id, "other")
    node.commands.clear()

    await control.builds.submit_steps(who, build, StepsRequest([], from_template="mine"))

    assert (await ended(control, who, build)).status is Status.READY
    assert commands(node) == ["serve", "ready"]
