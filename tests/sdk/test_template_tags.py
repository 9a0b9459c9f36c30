"""Tags of templates, as the SDKs set, list and take them away."""

import asyncio

import pytest
from e2b import Sandbox, TemplateException

from tests.sdk.building import Sdk, new_name, said

pytestmark = [pytest.mark.sdk, pytest.mark.root]


async def tagged(sdk: Sdk, name: str) -> dict[str, str]:
    return {tag.tag: tag.build_id for tag in await sdk.call("get_tags", name)}


async def two_builds(sdk: Sdk, name: str) -> tuple[str, str]:
    """Their ids; the second has the default tag."""
    first = await sdk.build(sdk.on_base().run_cmd("echo 1 > n"), f"{name}:one")
    second = await sdk.build(sdk.on_base().run_cmd("echo 2 > n"), name)
    return first.build_id, second.build_id


async def test_a_build_has_the_tags_that_it_was_asked_for(sdk: Sdk) -> None:
    name = new_name()
    built = await sdk.build(sdk.on_base().run_cmd("echo 1 > n"), f"{name}:v1.0.0", tags=["stable", "other"])
    assert set(built.tags) == {"v1.0.0", "stable", "other"}
    assert await tagged(sdk, name) == dict.fromkeys(built.tags, built.build_id)
    assert said(f"{name}:stable", "cat n") == "1\n"
    with pytest.raises(Exception, match=f"template '{name}' has no tag 'default'"):
        Sandbox.create(name)


async def test_tags_are_given_moved_and_taken_away(sdk: Sdk) -> None:
    name = new_name()
    first, second = await two_builds(sdk, name)
    given = await sdk.call("assign_tags", f"{name}:one", ["stable", "v1.0.0"])
    assert (given.build_id, set(given.tags)) == (first, {"stable", "v1.0.0"})
    assert said(f"{name}:stable", "cat n") == "1\n"
    await sdk.call("assign_tags", f"{name}:default", "stable")
    assert await tagged(sdk, name) == {"one": first, "v1.0.0": first, "default": second, "stable": second}
    assert said(f"{name}:stable", "cat n") == "2\n"
    await sdk.call("remove_tags", name, ["stable", "one"])
    assert set(await tagged(sdk, name)) == {"v1.0.0", "default"}
    with pytest.raises(Exception, match="has no tag 'stable'"):
        Sandbox.create(f"{name}:stable")


async def test_a_version_never_moves(sdk: Sdk) -> None:
    name = new_name()
    first, _ = await two_builds(sdk, name)
    await sdk.call("assign_tags", f"{name}:one", "v1.0.0")
    with pytest.raises(TemplateException, match=r"409: .*v1\.0\.0"):
        await sdk.call("assign_tags", name, "v1.0.0")
    assert (await tagged(sdk, name))["v1.0.0"] == first


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("assign_tags", ("none-such:x", ["y"]), "404: template 'none-such' not found"),
        ("assign_tags", ("base:no-such-tag", ["y"]), "404: template 'base' has no tag 'no-such-tag'"),
        ("assign_tags", ("base", ["Not a tag"]), "400: 'Not a tag' is not a tag"),
        ("assign_tags", (":x", ["y"]), "400: template ':x' is not a name"),
        ("remove_tags", ("none-such", ["x"]), "404: template 'none-such' not found"),
        ("remove_tags", ("base", ["no-such-tag"]), "404: template 'base' has no tag 'no-such-tag'"),
        ("get_tags", ("none-such",), "404: template 'none-such' not found"),
    ],
)
async def test_what_is_not_there(sdk: Sdk, method: str, arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(TemplateException) as failure:
        await sdk.call(method, *arguments)
    assert message in str(failure.value)


async def test_two_builds_at_once(sdk: Sdk) -> None:
    name = new_name()
    templates = [sdk.on_base().run_cmd(f"echo {n} > n; sleep 0.{n}") for n in (1, 2)]
    built = await asyncio.gather(*(sdk.build(template, name) for template in templates))
    ids = {info.build_id for info in built}
    assert len(ids) == 2
    assert (await tagged(sdk, name))["default"] in ids
    assert said(name, "cat n") in ("1\n", "2\n")
