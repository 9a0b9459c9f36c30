"""Volumes over HTTP: whose they are, and what of them sandboxes have mounted."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from berm.control.creation import NewSandbox
from berm.errors import BermError, Code
from berm.models import Mount, Principal, Running, SandboxSpec, VolumeMount
from tests.api.checks import check_error
from tests.conftest import Serve
from tests.fakes import FakeNode, HeldNode
from tests.serving import Served

pytestmark = pytest.mark.root


@pytest.fixture
def served(serve: Serve, tmp_path: Path) -> Served:
    return serve(FakeNode(tmp_path))


def create(served: Served, name: str = "one") -> dict[str, Any]:
    response = served.client.post("/volumes", json={"name": name})
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


def sandbox(served: Served, *mounts: tuple[str, str]) -> dict[str, Any]:
    wanted = [{"name": name, "path": path} for name, path in mounts]
    response = served.client.post("/v2/sandboxes", json={"templateID": "base", "volumeMounts": wanted})
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


def test_a_volume_is_made_shown_and_deleted(served: Served) -> None:
    made = create(served)
    assert made == {"volumeID": made["volumeID"], "name": "one", "token": made["token"]}
    assert served.client.get(f"/volumes/{made['volumeID']}").json() == made
    other = create(served, "Two_-2")
    listed = [{key: volume[key] for key in ("volumeID", "name")} for volume in (made, other)]
    assert served.client.get("/volumes").json() == listed
    assert set(served.node.volumes.names()) == {made["volumeID"], other["volumeID"]}
    assert served.client.delete(f"/volumes/{made['volumeID']}").status_code == 204
    for method in ("GET", "DELETE"):
        check_error(served.client.request(method, f"/volumes/{made['volumeID']}"), 404, "not found")
    assert served.client.get("/volumes").json() == listed[1:]
    assert set(served.node.volumes.names()) == {other["volumeID"]}
    assert create(served)["volumeID"] != made["volumeID"]


def test_a_name_is_given_once(served: Served) -> None:
    create(served)
    check_error(served.client.post("/volumes", json={"name": "one"}), 409, "there is a volume 'one' already")
    assert len(served.node.volumes.names()) == 1


@pytest.mark.parametrize("name", ["", "a b", "a/b", "..", "ü", "a\n", "x" * 129, None, 5])
def test_names_that_are_none(untouched: Served, name: object) -> None:
    check_error(untouched.client.post("/volumes", json={"name": name}), 400, "name is")
    check_error(untouched.client.post("/volumes", json={}), 400, "name is missing")


def test_a_team_sees_its_own_only(served: Served) -> None:
    made = create(served)
    other = served.connect(served.other_team_key())
    assert other.get("/volumes").json() == []
    for method in ("GET", "DELETE"):
        check_error(other.request(method, f"/volumes/{made['volumeID']}"), 404, "not found")
    wanted = {"templateID": "base", "volumeMounts": [{"name": "one", "path": "/m"}]}
    check_error(other.post("/v2/sandboxes", json=wanted), 404, "volume 'one' not found")
    theirs = other.post("/volumes", json={"name": "one"}).json()
    assert other.post("/v2/sandboxes", json=wanted).status_code == 201
    spec = next(iter(served.node.specs.values()))
    assert spec.mounts == (Mount("/m", directory=f"volumes/{theirs['volumeID']}"),)
    other.close()


def test_without_a_key(served: Served) -> None:
    for method, path in (
        ("GET", "/volumes"),
        ("POST", "/volumes"),
        ("GET", "/volumes/x"),
        ("DELETE", "/volumes/x"),
    ):
        response = served.client.request(method, path, headers={"X-API-Key": ""}, json={"name": "n"})
        check_error(response, 401, "no API key")


def test_what_a_sandbox_has_mounted(served: Served) -> None:
    one, two = create(served)["volumeID"], create(served, "two")["volumeID"]
    made = sandbox(served, ("two", "/data/deep/"), ("one", "/data"), ("one", "/again"))
    assert served.node.specs[made["sandboxID"]].mounts == (
        Mount("/again", directory=f"volumes/{one}"),
        Mount("/data", directory=f"volumes/{one}"),
        Mount("/data/deep", directory=f"volumes/{two}"),
    )
    shown = [
        {"name": "two", "path": "/data/deep/"},
        {"name": "one", "path": "/data"},
        {"name": "one", "path": "/again"},
    ]
    detail = served.client.get(f"/sandboxes/{made['sandboxID']}").json()
    listed = served.client.get("/v2/sandboxes").json() + served.client.get("/sandboxes").json()
    assert [found["volumeMounts"] for found in (detail, *listed)] == [shown] * 3
    assert served.node.specs[sandbox(served)["sandboxID"]].mounts == ()


WRONG: list[tuple[int, str, list[object]]] = [
    (404, "volume 'none' not found", [{"name": "none", "path": "/m"}]),
    (400, "volumeMounts has '/m' twice", [{"name": "one", "path": "/m"}, {"name": "one", "path": "//m/."}]),
    (400, "volumeMounts.0.path is missing", [{"name": "one"}]),
    (400, "volumeMounts.0.name is missing", [{"path": "/m"}]),
    (400, "volumeMounts.0.path is", [{"name": "one", "path": "/\0"}]),
    (400, "volumeMounts.0.path is", [{"name": "one", "path": "/" * 257}]),
    (400, "volumeMounts is", [{"name": "one", "path": f"/{n}"} for n in range(17)]),
    (400, "volumeMounts.0 is", ["one"]),
]


@pytest.mark.parametrize(("status", "message", "mounts"), WRONG)
def test_mounts_that_are_none(served: Served, status: int, message: str, mounts: list[object]) -> None:
    made = create(served)
    body = {"templateID": "base", "volumeMounts": mounts}
    check_error(served.client.post("/v2/sandboxes", json=body), status, message)
    assert not served.node.specs
    assert served.client.delete(f"/volumes/{made['volumeID']}").status_code == 204


def test_a_mounted_volume_is_not_deleted(served: Served) -> None:
    volume = create(served)["volumeID"]
    first, second = (sandbox(served, ("one", "/m"))["sandboxID"] for _ in range(2))
    refusal = served.client.delete(f"/volumes/{volume}")
    check_error(refusal, 409, "volume 'one' is mounted in sandbox")
    assert "and 1 others" in refusal.json()["message"]
    assert served.client.delete(f"/sandboxes/{first}").status_code == 204
    check_error(served.client.delete(f"/volumes/{volume}"), 409, f"is mounted in sandbox {second} (")
    assert served.client.delete(f"/sandboxes/{second}").status_code == 204
    assert served.client.delete(f"/volumes/{volume}").status_code == 204


def test_of_two_who_delete_one_is_told_so(served: Served) -> None:
    volume = create(served)["volumeID"]
    who = Principal(served.team_id, "key")

    async def race() -> list[BaseException | None]:
        attempts = [served.control.volumes.delete(who, volume) for _ in range(2)]
        return await asyncio.gather(*attempts, return_exceptions=True)

    first, second = served.call(race())
    assert first is None
    assert isinstance(second, BermError)
    assert second.code is Code.NOT_FOUND


def test_nor_one_that_a_starting_sandbox_will_have(serve: Serve, tmp_path: Path) -> None:
    node = HeldNode(tmp_path)
    served = serve(node)
    volume = create(served)["volumeID"]

    async def race() -> int:
        who = Principal(served.team_id, "key")
        mounts = (VolumeMount("one", "/m"),)
        wanted = NewSandbox("base", 60, {}, {}, secure=True, allow_internet=None, volume_mounts=mounts)
        starting = asyncio.ensure_future(served.control.sandboxes.create(who, wanted))
        await node.asked.acquire()
        with pytest.raises(BermError, match="is mounted in a sandbox that starts") as failure:
            await served.control.volumes.delete(who, volume)
        assert failure.value.code is Code.CONFLICT
        await node.let_go()
        return len((await starting).volume_mounts)

    assert served.call(race()) == 1
    check_error(served.client.delete(f"/volumes/{volume}"), 409, "is mounted in sandbox")


class UnwillingNode(FakeNode):
    """Starts no sandbox."""

    async def create(self, spec: SandboxSpec) -> Running:
        raise BermError(Code.INVALID_ARGUMENT, f"the mount at {spec.mounts[0].target!r}: no")


def test_a_sandbox_that_does_not_start_holds_none(serve: Serve, tmp_path: Path) -> None:
    served = serve(UnwillingNode(tmp_path))
    volume = create(served)["volumeID"]
    body = {"templateID": "base", "volumeMounts": [{"name": "one", "path": "/proc"}]}
    check_error(served.client.post("/v2/sandboxes", json=body), 400, "the mount at '/proc'")
    assert served.client.delete(f"/volumes/{volume}").status_code == 204


def test_what_no_record_knows_is_dropped_only_if_it_is_empty(
    served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    known = create(served)["volumeID"]
    for name in ("empty", "full"):
        served.call(served.node.volumes.make(name))
    (tmp_path / "volumes/full/tree/data").write_text("somebody's")
    served.call(served.control.volumes.start())
    assert set(served.node.volumes.names()) == {known, "full"}
    assert (tmp_path / "volumes/full/tree/data").read_text() == "somebody's"
    assert "volume full is not in the database" in caplog.text
    assert [volume["volumeID"] for volume in served.client.get("/volumes").json()] == [known]
