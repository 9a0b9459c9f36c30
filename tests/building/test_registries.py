"""Builds on images from registries on loopback: what comes, what is kept, what is left when it does not."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.building.folder import Folder
from tests.images import handmade, oci
from tests.images.handmade import Fault, HandmadeRegistry, handmade_registry
from tests.images.oci import (
    LOGIN,
    Descriptor,
    Registry,
    Store,
    file,
    htpasswd,
    insecure,
    layer,
    running_registry,
    tree_layer,
)
from tests.images.small import busybox_rootfs
from tests.instance import NUMBER, Instance, running

ENV = {"Env": ["PATH=/bin", "FROM_IMAGE=yes"]}


@dataclass(frozen=True)
class Place:
    """A berm, and the registries it may ask."""

    berm: Instance
    plain: Registry
    guarded: Registry
    handmade: HandmadeRegistry
    rootfs: bytes
    """A layer with a shell."""

    def layers(self) -> set[str]:
        """What there is of layers, finished or not."""
        return {path.name for path in (self.berm.pool / "layers").iterdir()}

    def serve(self, tag: str, *layers: bytes) -> Descriptor:
        described = oci.image(self.handmade.store, layers, ENV)
        self.handmade.tag(tag, described)
        return described

    def broken(self, tag: str, fault: Fault) -> None:
        """An image whose last layer fails."""
        described = self.serve(tag, layer([file(tag, os.urandom(200_000))]))
        manifest = json.loads(self.handmade.store[str(described["digest"])])
        self.handmade.faults[manifest["layers"][-1]["digest"]] = fault


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    work = tmp_path_factory.mktemp("registries")
    rootfs = tree_layer(busybox_rootfs(work / "rootfs"))
    (work / "guarded").mkdir()
    with (
        running_registry(work / "plain") as plain,
        running_registry(work / "guarded", htpasswd(work / "guarded")) as guarded,
        handmade_registry() as made,
        insecure(work / "home", plain.address, guarded.address, made.address),
    ):
        plain.push("base:1", [rootfs], ENV)
        guarded.push("private:1", [rootfs], ENV)
        settings = {"BERM_BASE_IMAGE": f"{plain.address}/base:1", "BERM_POOL_GB": "1"}
        with running(work / "berm", NUMBER + 3, **settings, XDG_RUNTIME_DIR=str(work / "none")) as berm:
            yield Place(berm, plain, guarded, made, rootfs)


@pytest.fixture(scope="module")
def berm(place: Place) -> Instance:
    return place.berm


def test_an_index_of_images_with_zstd(place: Place, folder: Folder) -> None:
    store: Store = {}
    layers = [place.rootfs, layer([file("mark", b"above")])]
    made = {
        name: oci.image(store, layers if name == "amd64" else [], ENV, compression="zstd", architecture=name)
        for name in ("amd64", "s390x")
    }
    digest = place.plain.push_made("several:1", store, oci.index(store, made))
    folder.write(f"FROM {place.plain.address}/several:1@{digest}\nRUN cat /mark > /copy\n")
    folder.build()
    assert folder.run("cat /copy; echo $FROM_IMAGE") == "aboveyes\n"


def test_a_pinned_image_needs_no_registry(place: Place, folder: Folder) -> None:
    place.serve("pinned", place.rootfs)
    folder.write(f"FROM {place.handmade.address}/app:pinned\nRUN echo one > /file\n")
    folder.build("--update-lock")
    assert "sha256:" in (folder.path / "e2b.lock").read_text()
    store = dict(place.handmade.store)
    asked = len(place.handmade.asked)
    place.handmade.store.clear()
    try:
        folder.write(f"FROM {place.handmade.address}/app:pinned\nRUN echo two > /file\n")
        folder.build()
    finally:
        place.handmade.store.update(store)
    assert folder.run("cat /file") == "two\n"
    fetched = [name for name in place.handmade.asked[asked:] if name != "pinned"]
    assert fetched == [], "a lock is compared with what the tag means now; nothing else is asked"


FAULTS = {
    "gone": (handmade.hang_up_in_the_middle, "EOF"),
    "another": (handmade.other_content, "did not match"),
    "error": (handmade.status(500), "500"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_base_that_does_not_come(name: str, place: Place, folder: Folder) -> None:
    fault, said = FAULTS[name]
    place.broken(name, fault)
    before = place.layers()
    folder.write(f"FROM {place.handmade.address}/app:{name}\nRUN true\n")
    assert said in folder.fails()
    assert failed(folder)["cause"] == "base_image"
    assert place.layers() == before


def failed(folder: Folder) -> dict[str, str]:
    """The newest build, in whatever state."""
    builds: list[dict[str, str]]
    builds = json.loads(folder.berm.berm("template", "builds", folder.name, "--json").stdout)
    return builds[0]


def test_a_bomb_fills_the_pool_and_leaves_nothing(place: Place, folder: Folder) -> None:
    info, _ = file("bomb")
    info.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "bomb",
        "GNU.sparse.realsize": str(1 << 40),
    }
    place.serve("bomb", layer([(info, b"0\n".ljust(512, b"\0"))]))
    before = place.layers()
    folder.write(f"FROM {place.handmade.address}/app:bomb\nRUN true\n")
    assert "no space left" in folder.fails()
    assert failed(folder)["cause"] == "no_space"
    assert place.layers() == before
    folder.write(f"FROM {place.plain.address}/base:1\nRUN echo room > /file\n")
    folder.build()
    assert folder.run("cat /file") == "room\n"


@dataclass(frozen=True)
class Api:
    """E2B's calls, as its SDKs make them."""

    http: httpx.Client

    def begin(self, name: str, **body: object) -> str:
        """Ask for a build; returns the path of its status."""
        made = self.http.post("/v3/templates", json={"name": name}).raise_for_status().json()
        path = f"{made['templateID']}/builds/{made['buildID']}"
        self.http.post(f"/v2/templates/{path}", json={"steps": [], **body}).raise_for_status()
        return path

    def end(self, path: str) -> tuple[str, str]:
        """How a build ends: its state and the reason."""
        while True:
            found = self.http.get(f"/templates/{path}/status", params={"wait": 30}).raise_for_status().json()
            if found["status"] not in ("building", "waiting"):
                return found["status"], found.get("reason", {}).get("message", "")


@pytest.fixture
def api(place: Place) -> Iterator[Api]:
    with httpx.Client(base_url=place.berm.url, headers={"X-API-Key": place.berm.key}, timeout=60) as http:
        yield Api(http)


def test_a_builds_own_login_is_nowhere_afterwards(place: Place, api: Api) -> None:
    image = f"{place.guarded.address}/private:1"
    login = {"type": "registry", "username": LOGIN[0], "password": LOGIN[1]}
    assert api.end(api.begin("nobody", fromImage=image))[0] == "error"
    wrong = {**login, "password": "wrong-password"}
    status, reason = api.end(api.begin("somebody-else", fromImage=image, fromImageRegistry=wrong))
    assert (status, "wrong-password" in reason) == ("error", False)
    assert api.end(api.begin("mine", fromImage=image, fromImageRegistry=login)) == ("ready", "")
    auth = {"username": LOGIN[0], "password": LOGIN[1]}
    answer = api.http.post("/berm/images", json={"references": [image], "auth": auth}).json()["images"]
    assert answer[0]["config"]["env"] == {"PATH": "/bin", "FROM_IMAGE": "yes"}
    assert holding(place.berm.home, LOGIN[1], "wrong-password") == []


def holding(directory: Path, *words: str) -> list[str]:
    """The files below a directory that have one of the words, but for the pool's image."""
    paths = (Path(folder, name) for folder, _, names in os.walk(directory) for name in names)
    files = (path for path in paths if path.is_file() and path.name != "pool.img")
    return [str(path) for path in files if any(word.encode() in path.read_bytes() for word in words)]


def test_a_login_is_in_no_process_list_and_a_cancelled_pull_leaves_nothing(place: Place, api: Api) -> None:
    before = place.layers()
    place.handmade.reached.clear()
    place.broken("held", handmade.stop_in_the_middle)
    login = {"type": "gcp", "serviceAccountJson": json.dumps({"private_key": "hunter3-secret"})}
    path = api.begin("held", fromImage=f"{place.handmade.address}/app:held", fromImageRegistry=login)
    assert place.handmade.reached.wait(60)
    lines = [line for line in command_lines() if place.handmade.address in line]
    assert lines, "skopeo is at it"
    assert not any("hunter3" in line for line in command_lines())
    assert holding(place.berm.home, "hunter3") == []
    api.http.delete(f"/berm/templates/{path}").raise_for_status()
    assert api.end(path)[0] == "error"
    assert place.layers() == before
    assert not any(place.handmade.address in line for line in command_lines())


def command_lines() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


def test_amazons_login_is_refused_with_a_way_out(place: Place, api: Api) -> None:
    made = api.http.post("/v3/templates", json={"name": "amazon"}).raise_for_status().json()
    keys = {"awsAccessKeyId": "id", "awsSecretAccessKey": "hunter4-secret", "awsRegion": "eu-west-1"}
    body = {"fromImage": "x.dkr.ecr.invalid/app", "fromImageRegistry": {"type": "aws", **keys}}
    answer = api.http.post(f"/v2/templates/{made['templateID']}/builds/{made['buildID']}", json=body)
    assert answer.status_code == 501
    assert "username AWS" in answer.json()["message"]
    assert "hunter4" not in answer.text
    assert holding(place.berm.home, "hunter4") == []


def test_the_base_of_the_sdks_is_what_the_operator_says(place: Place, folder: Folder) -> None:
    """It is made of BERM_BASE_IMAGE, here busybox from a registry."""
    folder.write("FROM e2bdev/base\nRUN echo $FROM_IMAGE > /file\n")
    folder.build()
    assert folder.run("cat /file /etc/os-release") == "yes\nID=small\n"
