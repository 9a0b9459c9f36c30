import pytest

from berm.control.control import Control
from berm.control.templates import Reference
from berm.errors import BermError, Code
from berm.models import Principal, Resources
from berm.store.builds import Status


async def code_of(control: Control, team_id: str, reference: str) -> Code:
    with pytest.raises(BermError) as caught:
        await control.templates.resolve(team_id, reference)
    return caught.value.code


@pytest.mark.parametrize(
    ("text", "name", "tag"),
    [("base", "base", "default"), ("a.b-c_d:v1.2", "a.b-c_d", "v1.2"), ("team/base:x", "team/base", "x")],
)
def test_references(text: str, name: str, tag: str) -> None:
    assert Reference.parse(text) == Reference(name, tag)


@pytest.mark.parametrize(
    "text", ["", ":x", "name:", "a:b:c", "Upper", "a b", "-a", "a/b/c", "/a", "\0", "a" * 257]
)
def test_texts_that_are_no_references(text: str) -> None:
    with pytest.raises(BermError, match="is not a name or name:tag"):
        Reference.parse(text)


async def test_a_template_is_found_by_name_id_and_tag(control: Control, who: Principal) -> None:
    base = await control.templates.resolve(who.team_id, "base")
    for reference in ("base:default", base.template_id, f"{base.template_id}:default"):
        assert await control.templates.resolve(who.team_id, reference) == base


@pytest.mark.parametrize("reference", ["none", "base:none", "base:", "", "BASE", "\0"])
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
    await control.templates.fail(build.build_id, "no such image", "1")
    assert await code_of(control, who.team_id, "new") is Code.CONFLICT
    failed = await control.templates.build(who.team_id, "new", build.build_id)
    assert (failed.status, failed.reason, failed.reason_step) == (Status.ERROR, "no such image", "1")


async def test_a_rebuild_replaces_the_template_once_it_is_ready(control: Control, who: Principal) -> None:
    first = await control.templates.resolve(who.team_id, "base")
    build = await control.templates.begin(who.team_id, "base", resources=Resources(4, 2048))
    assert await control.templates.resolve(who.team_id, "base") == first
    second = await control.templates.finish(build, ["new"], user="root", workdir="/srv")
    assert second.template_id == first.template_id
    assert await control.templates.resolve(who.team_id, "base") == second
    assert (second.layers, second.resources.cpu_count, second.user) == (("new",), 4, "root")


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
