"""Which templates there are, how they are deleted, and what they are built from."""

from collections.abc import Iterator

import pytest
from e2b import BuildException, Sandbox

from tests.images.oci import Registry, running_registry, tree_layer
from tests.images.small import busybox_rootfs
from tests.instance import NUMBER, Instance, running
from tests.sdk.building import Sdk, new_name, said

pytestmark = [pytest.mark.sdk, pytest.mark.root]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    work = tmp_path_factory.mktemp("registry")
    with running_registry(work) as registry:
        rootfs = tree_layer(busybox_rootfs(work / "rootfs"))
        registry.push("base:1", [rootfs], {})
        settings = {"Env": ["FROM_IMAGE=yes", "PATH=/bin:/opt/own"], "WorkingDir": "/srv", "User": "root"}
        registry.push("small:1", [rootfs], settings)
        yield registry


@pytest.fixture(scope="module")
def berm(registry: Registry) -> Iterator[Instance]:
    """One of its own, as its server has to know the registry."""
    settings = {
        "BERM_BASE_IMAGE": f"{registry.address}/base:1",
        "BERM_POOL_GB": "4",
        "BERM_READY_TIMEOUT": "1",
    }
    with running(registry.work / "home", NUMBER + 2, **settings) as instance:
        yield instance


async def test_a_name_exists_until_it_is_deleted(sdk: Sdk) -> None:
    name = new_name()
    assert await sdk.call("exists", name) is False
    built = await sdk.build(sdk.on_base().run_cmd("true"), name)
    assert await sdk.call("exists", name) is True
    assert await sdk.call("alias_exists", name) is True
    # The SDKs have no other call for it.
    assert Sandbox.delete_snapshot(built.template_id) is True
    assert Sandbox.delete_snapshot(built.template_id) is False
    assert await sdk.call("exists", name) is False
    with pytest.raises(Exception, match=f"template '{name}' not found"):
        Sandbox.create(name)


async def test_a_sandbox_outlives_its_template(sdk: Sdk) -> None:
    built = await sdk.build(sdk.on_base().run_cmd("echo here > file"))
    sandbox = Sandbox.create(built.name, timeout=60)
    try:
        assert Sandbox.delete_snapshot(built.name) is True
        assert sandbox.commands.run("cat file").stdout == "here\n"
    finally:
        sandbox.kill()


async def test_an_image_of_a_registry(sdk: Sdk, registry: Registry) -> None:
    image = f"{registry.address}/small:1"
    template = sdk.begin().from_image(image).run_cmd('echo "$FROM_IMAGE $(id -un) $(pwd)" > seen')
    built = await sdk.build(template)
    assert said(built.name, "cat seen; cat /etc/os-release; echo $FROM_IMAGE").splitlines() == [
        "yes user /home/user",
        "ID=small",
        "yes",
    ]


async def test_an_image_with_credentials_that_nobody_asked_for(sdk: Sdk, registry: Registry) -> None:
    image = f"{registry.address}/small:1"
    built = await sdk.build(
        sdk.begin().from_image(image, username="someone", password="secret").run_cmd("true")
    )
    assert said(built.name, "echo fine") == "fine\n"


async def test_a_registry_of_google_s(sdk: Sdk, registry: Registry) -> None:
    image = f"{registry.address}/small:1"
    template = sdk.begin().from_gcp_registry(image, {"type": "service_account"}).run_cmd("true")
    built = await sdk.build(template)
    assert said(built.name, "echo fine") == "fine\n"


@pytest.mark.parametrize(
    ("image", "message"),
    [("small:none", "small:none"), ("none:1", "none:1"), ("UPPER:1", "UPPER:1")],
)
async def test_an_image_that_is_not_there(sdk: Sdk, registry: Registry, image: str, message: str) -> None:
    with pytest.raises(BuildException) as failure:
        await sdk.build(sdk.begin().from_image(f"{registry.address}/{image}").run_cmd("true"))
    assert message in str(failure.value)


async def test_registries_that_need_more_than_a_password(sdk: Sdk) -> None:
    template = sdk.begin().from_aws_registry("x.example/y:1", "id", "secret-key", "region").run_cmd("true")
    with pytest.raises(BuildException) as failure:
        await sdk.build(template)
    assert "501: fromImageRegistry.type is 'aws', which is not offered" in str(failure.value)
    assert "secret-key" not in str(failure.value)


async def test_small_images_have_what_builds_need(sdk: Sdk) -> None:
    template = (
        sdk.on_base()
        .set_user("someone")
        .set_workdir("/srv/x")
        .run_cmd("id -un > who; pwd >> who")
        .set_start_cmd("touch /tmp/there; sleep 1000", "test -e /tmp/there")
    )
    built = await sdk.build(template)
    assert said(built.name, "cat who; ls /tmp/there") == "someone\n/srv/x\n/tmp/there\n"


async def test_a_start_command_that_is_never_ready(sdk: Sdk) -> None:
    name = new_name()
    with pytest.raises(BuildException) as failure:
        await sdk.build(sdk.on_base().set_start_cmd("exit 3", "echo not yet; exit 1"), name)
    assert "the ready command 'echo not yet; exit 1' did not succeed within 1 s" in str(failure.value)
    with pytest.raises(Exception, match=f"template '{name}' could not be made"):
        Sandbox.create(name)
