"""Base images of builds: fetched once, by whom and until when, over registries on loopback."""

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from berm.config import Config
from berm.control import images as module
from berm.control.control import Control
from berm.control.images import Images, layer_name
from berm.errors import BermError, Code
from berm.images import debian, skopeo
from berm.images.login import Login
from berm.images.manifest import DIGEST
from berm.images.process import ignore
from berm.models import Principal
from berm.store import teams as store
from berm.store.builds import Build, Cause, Status
from berm.store.database import Database
from berm.store.teams import Team
from berm.templates.base import OWN, ResolvedImage
from berm.templates.plan import Base, Plan, Settings, Stage
from tests.control.test_builds import begin, ended, made, messages, run
from tests.fakes import FakeNode, PoolNode
from tests.images import handmade, oci
from tests.images.handmade import Answer, HandmadeRegistry, handmade_registry
from tests.images.oci import LOGIN, file, insecure, layer

pytestmark = pytest.mark.root

MINE = Login(*LOGIN)


@pytest.fixture
def node(tmp_path: Path) -> PoolNode:
    return PoolNode(tmp_path / "pool")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[HandmadeRegistry]:
    with handmade_registry() as running, insecure(tmp_path / "home", running.address):
        yield running


@pytest.fixture
async def teams(control: Control) -> list[str]:
    """Two of them."""
    made = [Team(str(uuid.uuid4()), name, datetime.now(UTC)) for name in ("one", "two")]
    for team in made:
        await control.database.run(store.add_team, team)
    return [team.team_id for team in made]


@pytest.fixture
async def images(control: Control) -> AsyncIterator[Images]:
    """Those of a second asker on the same machine."""
    yield Images(control.templates, control.workshop)


def serve(registry: HandmadeRegistry, content: bytes = b"x" * 1000) -> Base:
    """Let app:1 be an image; returns it as a plan names it."""
    digest = registry.tag("1", oci.image(registry.store, [layer([file("a", content)])], {"Env": ["A=b"]}))
    return Base("image", f"{registry.address}/app:1", digest)


def blobs(registry: HandmadeRegistry) -> list[str]:
    """What was asked for of the parts of images."""
    return [name for name in registry.asked if registry.types.get(name) is None]


def on(base: Base, text: str = "true") -> Plan:
    return Plan((Stage("", base, (run(text),)),), Settings(user="user"))


def slow_layer(registry: HandmadeRegistry, digest: str, fault: handmade.Fault) -> None:
    """Let a fault happen to the layer of an image."""
    (blob,) = [name for name in registry.store if name not in registry.types and is_layer(registry, name)]
    assert blob != digest
    registry.faults[blob] = fault


def is_layer(registry: HandmadeRegistry, name: str) -> bool:
    return registry.store[name].startswith(b"\x1f\x8b")


async def test_a_pinned_image_is_asked_for_once(
    control: Control, who: Principal, node: PoolNode, registry: HandmadeRegistry
) -> None:
    base = serve(registry)
    assert (await made(control, who, on(base, "one"))).status is Status.READY
    assert (node.layer_path(layer_name(base.digest)) / "a").exists()
    asked = list(registry.asked)
    assert len(blobs(registry)) == len(set(blobs(registry))) + 1, "the configuration twice, the layer once"
    registry.store.clear()  # the registry has lost it
    assert (await made(control, who, on(base, "two"))).status is Status.READY
    (found,) = await control.builds.images(who, [f"{base.name}@{base.digest}"])
    assert isinstance(found, ResolvedImage)
    assert (found.digest, found.settings.env) == (base.digest, {"A": "b"})
    assert registry.asked == asked
    # What a tag means is asked each time.
    (lost,) = await control.builds.images(who, [base.name])
    assert isinstance(lost, BermError)


async def test_two_builds_at_once_pull_once(
    control: Control, who: Principal, node: PoolNode, registry: HandmadeRegistry
) -> None:
    base = serve(registry)
    go = asyncio.Event()
    loop = asyncio.get_running_loop()

    def held(answer: Answer) -> None:
        registry.reached.set()
        asyncio.run_coroutine_threadsafe(go.wait(), loop).result()
        answer.send(answer.content)

    slow_layer(registry, base.digest, held)
    first = await begin(control, who, on(base, "one"), "first")
    await asyncio.to_thread(registry.reached.wait)
    second = await begin(control, who, on(base, "two"), "second")
    while not any("pulled already" in line for line in await messages(control, second)):
        await control.builds.changed(second.build_id)
    go.set()
    for build in (first, second):
        assert (await ended(control, who, build)).status is Status.READY
        assert "Unpacking the layers" in await messages(control, build)
    assert sum(is_layer(registry, name) for name in blobs(registry)) == 1


async def stalled(
    control: Control, who: Principal, registry: HandmadeRegistry, base: Base, name: str = "stalled"
) -> Build:
    """A build whose base stops coming in the middle."""
    slow_layer(registry, base.digest, handmade.stop_in_the_middle)
    build = await begin(control, who, on(base), name)
    await asyncio.to_thread(registry.reached.wait)
    return build


async def test_a_cancelled_build_ends_its_pull(
    control: Control, who: Principal, node: PoolNode, registry: HandmadeRegistry
) -> None:
    base = serve(registry)
    build = await stalled(control, who, registry, base)
    await control.builds.cancel(who, "stalled", build.build_id)
    assert (await ended(control, who, build)).cause is Cause.CANCELLED
    assert node.left() == []
    registry.faults.clear()
    assert (await made(control, who, on(base))).status is Status.READY


async def test_a_pull_goes_on_while_somebody_waits_for_it(
    control: Control, who: Principal, node: PoolNode, registry: HandmadeRegistry
) -> None:
    base = serve(registry)
    first = await stalled(control, who, registry, base)
    second = await begin(control, who, on(base), "second")
    while not any("pulled already" in line for line in await messages(control, second)):
        await control.builds.changed(second.build_id)
    await control.builds.cancel(who, "stalled", first.build_id)
    assert node.left() == [f"layers/{layer_name(base.digest)}"], "it is being pulled still"
    await control.builds.cancel(who, "second", second.build_id)
    assert node.left() == []


async def test_a_server_that_stops_ends_the_pull(
    control: Control, who: Principal, node: PoolNode, registry: HandmadeRegistry
) -> None:
    build = await stalled(control, who, registry, serve(registry))
    await control.builds.close()
    assert (await ended(control, who, build)).cause is Cause.INTERRUPTED
    assert node.left() == []


FAULTS = {
    "silent": (handmade.stop_in_the_middle, "nothing came"),
    "gone": (handmade.hang_up_in_the_middle, "EOF"),
    "another": (handmade.other_content, "did not match"),
    "lost": (handmade.status(404), "404"),
}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skopeo, "IDLE_SECONDS", 1.0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", FAULTS)
async def test_a_base_that_does_not_come(
    name: str,
    control: Control,
    who: Principal,
    node: PoolNode,
    registry: HandmadeRegistry,
) -> None:
    fault, said = FAULTS[name]
    base = serve(registry)
    slow_layer(registry, base.digest, fault)
    build = await made(control, who, on(base))
    assert (build.status, build.cause, build.reason_step) == (Status.ERROR, Cause.BASE_IMAGE, "base")
    assert said in str(build.reason)
    assert node.left() == []
    registry.faults.clear()
    assert (await made(control, who, on(base))).status is Status.READY, "nothing is in its way"


def guard(registry: HandmadeRegistry) -> None:
    """Let who shows LOGIN alone ask."""
    registry.login = "Basic " + base64.b64encode(":".join(LOGIN).encode()).decode()


async def test_another_team_may_not_use_what_it_may_not_pull(
    teams: list[str], images: Images, node: PoolNode, registry: HandmadeRegistry
) -> None:
    base = serve(registry)
    guard(registry)
    ground = await images.known(teams[0], base)
    await images.fetch(teams[0], ground, base, ignore, MINE)
    assert node.has_layer(ground.layers[0])
    with pytest.raises(BermError) as caught:
        await images.fetch(teams[1], ground, base, ignore)
    assert caught.value.code is Code.PERMISSION_DENIED
    await images.fetch(teams[1], ground, base, ignore, MINE)
    await images.fetch(teams[1], ground, base, ignore)
    assert sum(is_layer(registry, name) for name in blobs(registry)) == 1


async def test_who_may_not_pull_does_not_spoil_it_for_who_may(
    teams: list[str], images: Images, node: PoolNode, registry: HandmadeRegistry
) -> None:
    base = serve(registry)
    guard(registry)
    ground = await images.known(teams[0], base)
    wrong = images.fetch(teams[0], ground, base, ignore, Login("someone", "wrong"))
    right = images.fetch(teams[1], ground, base, ignore, MINE)
    found = await asyncio.gather(wrong, right, return_exceptions=True)
    assert isinstance(found[0], BermError)
    assert found[1] is None
    assert node.has_layer(ground.layers[0])


async def test_many_references_at_a_registry_that_hangs(
    images: Images, registry: HandmadeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are answered before a client goes away."""
    monkeypatch.setattr(module, "_RESOLVE_SECONDS", 1.0)
    names = [f"{registry.address}/app:{number}" for number in range(20)]
    registry.faults.update({str(number): handmade.hang for number in range(20)})
    for found in await images.resolve("team", names):
        assert isinstance(found, BermError)
        assert found.code is Code.UNAVAILABLE


@pytest.fixture
async def servers(control: Control, config: Config, tmp_path: Path) -> AsyncIterator[list[Control]]:
    """Two that know nothing of each other."""
    there = replace(config, home=tmp_path / "other")
    there.home.mkdir()
    other = Control.over(Database(there.database), FakeNode(), there)
    await other.start()
    yield [control, other]
    await other.close()


@pytest.mark.parametrize("first", [debian.layer_name(), f"img-{'a' * 64}", "layer-0"])
async def test_the_base_has_one_digest_wherever_it_was_made(first: str, servers: list[Control]) -> None:
    """What stands in an e2b.lock for it: the second server knows the image that the first one pinned."""
    digests = set()
    for number, server in enumerate(servers):
        team = (await server.keys.first_team()).team_id
        build = await server.templates.begin(team, "base", public=True)
        await server.templates.finish(build, [first, f"account-{number}"], Settings(user="user"))
        mine = Images(server.templates, server.workshop)
        digests.add((await mine.find(team, OWN)).digest)
        ground = await mine.known(team, Base("image", OWN, min(digests)))
        assert ground.layers == (first, f"account-{number}")
        with pytest.raises(BermError, match="--update-lock") as caught:
            await mine.known(team, Base("image", OWN, f"sha256:{'b' * 64}"))
        assert caught.value.code is Code.CONFLICT
    (digest,) = digests
    assert DIGEST.fullmatch(digest)
