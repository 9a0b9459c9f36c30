from datetime import timedelta

import pytest

from berm.control.control import Control
from berm.control.references import Reference
from berm.errors import BermError, Code
from berm.models import Principal, Resources
from berm.store.builds import Cause, Status, StepRecord
from berm.templates.plan import Settings
from tests.control.asking import wanted


async def code_of(control: Control, team_id: str, reference: str) -> Code:
    with pytest.raises(BermError) as caught:
        await control.templates.resolve(team_id, reference)
    return caught.value.code


@pytest.mark.parametrize(
    ("text", "name", "tag"),
    [
        ("base", "base", "default"),
        ("a.b-c_d:v1.2", "a.b-c_d", "v1.2"),
        ("team/base:x", "team/base", "x"),
        ("base:7", "base", "7"),
        ("a" * 128 + ":" + "b" * 128, "a" * 128, "b" * 128),
    ],
)
def test_references(text: str, name: str, tag: str) -> None:
    assert Reference.parse(text) == Reference(name, tag)


@pytest.mark.parametrize("at", ["7", "123456789", "01234567-89ab-cdef-0123-456789abcdef"])
def test_references_to_builds(at: str) -> None:
    assert Reference.parse(f"team/base@{at}") == Reference("team/base", "", at)


@pytest.mark.parametrize(
    "text",
    [
        *("", ":x", "name:", "a:b:c", "Upper", "a b", "-a", "a/b/c", "/a", "\0", "a" * 258),
        *("a" * 129, "a:" + "b" * 129, "a@", "a@0", "a@x", "a@1:x", "a:x@1", "a@1234567890", "@1"),
    ],
)
def test_texts_that_are_no_references(text: str) -> None:
    with pytest.raises(BermError, match="is not a name or name:tag"):
        Reference.parse(text)


async def test_a_template_is_found_by_name_id_and_tag(control: Control, who: Principal) -> None:
    base = await control.templates.resolve(who.team_id, "base")
    for reference in ("base:default", base.template_id, f"{base.template_id}:default"):
        assert await control.templates.resolve(who.team_id, reference) == base


@pytest.mark.parametrize("reference", ["none", "base:none", "base:", "", "BASE", "\0", "base@2"])
async def test_what_does_not_exist_is_not_found(control: Control, who: Principal, reference: str) -> None:
    assert await code_of(control, who.team_id, reference) is Code.NOT_FOUND


async def test_while_its_first_build_runs_a_template_is_unavailable(control: Control, who: Principal) -> None:
    build = await control.templates.begin(who.team_id, "new")
    assert await code_of(control, who.team_id, "new") is Code.UNAVAILABLE
    await control.templates.start(build.build_id)
    assert await code_of(control, who.team_id, "new") is Code.UNAVAILABLE
    made = await control.templates.finish(build, ["layer"])
    assert await control.templates.resolve(who.team_id, "new") == made


async def test_a_failed_build_says_why(control: Control, who: Principal) -> None:
    build = await control.templates.begin(who.team_id, "new")
    await control.templates.fail(build.build_id, "no such image", "1", Cause.BASE_IMAGE)
    assert await code_of(control, who.team_id, "new") is Code.CONFLICT
    failed = await control.templates.build(who.team_id, "new", build.build_id)
    assert (failed.status, failed.reason, failed.reason_step) == (Status.ERROR, "no such image", "1")
    assert failed.cause is Cause.BASE_IMAGE
    assert await code_of(control, who.team_id, f"new@{build.number}") is Code.CONFLICT


async def test_a_rebuild_replaces_the_template_once_it_is_ready(control: Control, who: Principal) -> None:
    first = await control.templates.resolve(who.team_id, "base")
    build = await control.templates.begin(who.team_id, "base", resources=Resources(4, 2048))
    assert await control.templates.resolve(who.team_id, "base") == first
    second = await control.templates.finish(
        build, ["new"], Settings(user="root", workdir="/srv", start_cmd="serve", ready_cmd="ask")
    )
    assert second.template_id == first.template_id
    assert await control.templates.resolve(who.team_id, "base") == second
    assert (second.layers, second.resources.cpu_count, second.user) == (("new",), 4, "root")
    assert (second.start_cmd, second.ready_cmd) == ("serve", "ask")
    assert await control.templates.resolve(who.team_id, "base@1") == first


async def test_a_failed_rebuild_changes_nothing(control: Control, who: Principal) -> None:
    first = await control.templates.resolve(who.team_id, "base")
    build = await control.templates.begin(who.team_id, "base")
    await control.templates.fail(build.build_id, "broken")
    assert await control.templates.resolve(who.team_id, "base") == first


async def test_tags_in_the_name_or_beside_it(control: Control, who: Principal) -> None:
    build = await control.templates.begin(who.team_id, "tagged:v1", tags=["v2", "v2"])
    assert build.tags == ("v1", "v2")
    made = await control.templates.finish(build, ["layer"])
    for reference in ("tagged:v1", "tagged:v2"):
        assert await control.templates.resolve(who.team_id, reference) == made
    assert await code_of(control, who.team_id, "tagged") is Code.NOT_FOUND


async def test_a_finished_build_cannot_be_finished_again(control: Control, who: Principal) -> None:
    build = await control.templates.begin(who.team_id, "new")
    await control.templates.finish(build, ["layer"])
    with pytest.raises(BermError, match="is finished"):
        await control.templates.finish(build, ["other"])
    with pytest.raises(BermError, match="is finished"):
        await control.templates.fail(build.build_id, "late")
    with pytest.raises(BermError, match="is finished"):
        await control.templates.start(build.build_id)


async def test_logs_come_back_in_order(control: Control, who: Principal) -> None:
    build = await control.templates.begin(who.team_id, "new")
    await control.templates.log(build.build_id, "one", "two")
    await control.templates.log(build.build_id, "three", level="error", step="1")
    lines = await control.templates.lines(build.build_id, 1, 100)
    assert [(line.message, line.level, line.step) for line in lines] == [
        ("two", "info", None),
        ("three", "error", "1"),
    ]
    severe = await control.templates.lines(build.build_id, 0, 100, "warn")
    assert [line.message for line in severe] == ["three"]


async def test_what_is_asked_for_is_recorded(control: Control, who: Principal) -> None:
    templates = control.templates
    build = await templates.begin(who.team_id, "base", ["x"], commit="c0ffee", actor="someone")
    await templates.start(build.build_id)
    steps = (StepRecord("1", "RUN true", key="k"),)
    await templates.note_steps(build.build_id, iter(steps))
    going_on = await templates.build(who.team_id, "base", "2")
    assert (going_on.build_id, going_on.number, going_on.status) == (build.build_id, 2, Status.BUILDING)
    assert (going_on.commit, going_on.actor, going_on.steps) == ("c0ffee", "someone", steps)
    settings = Settings(labels={"a": "b"})
    await templates.finish(build, ["l"], settings, steps=steps, digest="sha256:x", size=9)
    done = await templates.newest(who.team_id, "base")
    assert done is not None
    assert (done.number, done.digest, done.size, done.settings) == (2, "sha256:x", 9, settings)
    assert await templates.newest(who.team_id, "none") is None


async def test_names_a_build_cannot_have(control: Control, who: Principal) -> None:
    for name in ("base@1", "base:"):
        with pytest.raises(BermError) as caught:
            await control.templates.begin(who.team_id, name)
        assert caught.value.code is Code.INVALID_ARGUMENT
    assert control.templates.would_tag("base:v1", ["v2", "v1"]) == ("v1", "v2")
    assert control.templates.would_tag("base") == ("default",)


async def test_a_trial_leaves_no_trace(control: Control, who: Principal) -> None:
    templates = control.templates
    build = await templates.begin(who.team_id, "tried", ["v1.0.0"])
    await templates.start(build.build_id, trial=True)
    await templates.finish(build, ["layer"])
    tried = await templates.build(who.team_id, build.template_id, build.build_id)
    assert (tried.status, tried.trial, tried.number) == (Status.READY, True, 0)
    for reference in ("tried", "tried:v1.0.0", f"tried@{build.build_id}"):
        assert await code_of(control, who.team_id, reference) is Code.NOT_FOUND
    with pytest.raises(BermError, match="not found"):
        await templates.find_alias(who.team_id, "tried")
    real = await templates.begin(who.team_id, "tried", ["v1.0.0"])
    assert real.number == 1
    await templates.finish(real, ["layer"])
    assert (await templates.resolve(who.team_id, "tried:v1.0.0")).build_id == real.build_id


async def test_a_trial_of_a_template_that_there_is(control: Control, who: Principal) -> None:
    before = await control.templates.get(who.team_id, "base")
    build = await control.templates.begin(who.team_id, "base")
    await control.templates.start(build.build_id, trial=True)
    await control.templates.finish(build, ["layer"])
    after = await control.templates.get(who.team_id, "base")
    assert (after.build, after.build_count) == (before.build, before.build_count)
    assert (await control.templates.resolve(who.team_id, "base")).build_id == before.build.build_id


async def test_a_deleted_template_is_gone_and_its_sandboxes_are_not(control: Control, who: Principal) -> None:
    await control.templates.resolve(who.team_id, "base")
    sandbox = await control.sandboxes.create(who, wanted())
    assert await control.templates.delete(who.team_id, "base") == ()
    assert await code_of(control, who.team_id, "base") is Code.NOT_FOUND
    kept = await control.sandboxes.get(who, sandbox.sandbox_id)
    assert (kept.layers, kept.build_id) == (("bottom", "top"), sandbox.build_id)
    assert await control.templates.unused(["bottom", "top", "x"], 0) == {"x"}
    await control.sandboxes.kill(who, sandbox.sandbox_id)
    assert await control.templates.unused(["bottom", "top", "x"], 0) == {"bottom", "top", "x"}


async def test_a_template_is_deleted_while_it_is_built(control: Control, who: Principal) -> None:
    templates = control.templates
    build = await templates.begin(who.team_id, "base")
    await templates.start(build.build_id)
    assert await templates.delete(who.team_id, "base") == (build.build_id,)
    await templates.log(build.build_id, "late")
    await templates.note_steps(build.build_id, [])
    for late in (templates.finish(build, ["layer"]), templates.fail(build.build_id, "late")):
        with pytest.raises(BermError, match="is finished, or there is none"):
            await late
    assert await code_of(control, who.team_id, "base") is Code.NOT_FOUND
    assert (await templates.begin(who.team_id, "base")).number == 1


@pytest.mark.parametrize("reference", ["base:default", "base@1"])
async def test_a_part_of_a_template_is_not_deleted_as_a_whole(
    control: Control, who: Principal, reference: str
) -> None:
    with pytest.raises(BermError, match="is a tag or a build") as caught:
        await control.templates.delete(who.team_id, reference)
    assert caught.value.code is Code.INVALID_ARGUMENT


async def test_a_template_is_published_and_withdrawn(control: Control, who: Principal) -> None:
    await control.templates.resolve("other", "base")
    assert not (await control.templates.update(who.team_id, "base", public=False)).public
    assert await code_of(control, "other", "base") is Code.NOT_FOUND


async def test_how_long_a_build_took(control: Control, who: Principal) -> None:
    build = await control.templates.begin(who.team_id, "new")
    await control.templates.start(build.build_id)
    await control.templates.finish(build, ["layer"])
    done = await control.templates.build(who.team_id, "new", build.build_id)
    assert done.started_at is not None
    assert done.finished_at is not None
    took = done.finished_at - done.started_at
    assert done.duration_ms == round(took / timedelta(milliseconds=1))
