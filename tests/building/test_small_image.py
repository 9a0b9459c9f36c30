"""Builds on an image of musl and busybox, on a berm whose storage is small."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.building.folder import Folder
from tests.images.oci import Registry, running_registry, tree_layer
from tests.images.small import busybox_rootfs
from tests.instance import NUMBER, Instance, running


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    work = tmp_path_factory.mktemp("small")
    with running_registry(work) as found:
        config = {"Env": ["PATH=/bin:/sbin", "FROM_IMAGE=yes"], "WorkingDir": "/srv"}
        found.push("small:1", [tree_layer(busybox_rootfs(work / "rootfs"))], config)
        yield found


@pytest.fixture(scope="module")
def berm(registry: Registry) -> Iterator[Instance]:
    settings = {"BERM_BASE_IMAGE": f"{registry.address}/small:1", "BERM_POOL_GB": "1"}
    with running(registry.work / "home", NUMBER + 5, **settings) as instance:
        yield instance


@pytest.fixture
def image(registry: Registry) -> str:
    return f"{registry.address}/small:1"


def test_a_template_of_it(folder: Folder, image: str) -> None:
    folder.write(
        f"FROM {image}\nENV MORE=$FROM_IMAGE-too\nCOPY --chown=7:8 hello hello\n"
        "RUN cat hello > said && id -u > id\nUSER 7\n",
        {"hello": "hello\n"},
    )

    folder.build()

    assert folder.run("cat said id; stat -c '%u %g' hello; echo $MORE; id -u; pwd").splitlines() == [
        *("hello", "0", "7 8", "yes-too", "7", "/srv"),
    ]


def test_the_account_user_is_added_with_a_sudo_of_ours(folder: Folder, image: str) -> None:
    folder.write(f"FROM {image}\n")

    said = folder.build().stderr

    assert "No sudo in this image: a small one takes its place" in said
    assert folder.run("id -un; cd; pwd; sudo id -un") == "user\n/home/user\nroot\n"


def test_from_nothing(folder: Folder, image: str) -> None:
    tools = f"FROM {image} AS tools\nFROM scratch\n"
    folder.write(f"{tools}COPY f /f\n", {"f": "x"})
    assert "failed to add the account user" in folder.fails()

    folder.write(f"{tools}COPY --from=tools / /\nCOPY f /f\n", {"f": "x"})
    folder.build()
    assert folder.run("cat /f") == "x"


def test_what_is_pushed_can_be_built_on(folder: Folder, registry: Registry, image: str) -> None:
    folder.write(f"FROM {image}\nENV WHO=me\nWORKDIR /made\nRUN echo one > one && echo two > two && rm one\n")
    folder.build()
    pushed = f"{registry.address}/pushed:1"

    folder.berm.berm("template", "export", folder.name, "--push", f"docker://{pushed}")

    folder.write(f"FROM {pushed}\nRUN echo $WHO >> two\n")
    folder.build()
    assert folder.run("pwd; ls; cat two") == "/made\ntwo\ntwo\nme\n"


def test_a_full_storage_fails_the_step_and_not_the_next_build(folder: Folder, image: str) -> None:
    folder.write(f"FROM {image}\nRUN dd if=/dev/urandom of=/big bs=1M count=4000\n", toml="disk_mb = 8192\n")

    assert "No space left on device" in folder.fails()

    folder.write(f"FROM {image}\nRUN echo small > /small\n")
    folder.build()
    assert folder.run("cat /small") == "small\n"


def test_an_upload_that_does_not_fit_is_refused_whole(folder: Folder, image: str, tmp_path: Path) -> None:
    folder.write(f"FROM {image}\nCOPY . /copied/\n", {"small": "s"})
    with (folder.path / "big").open("wb") as file, Path("/dev/urandom").open("rb") as noise:
        for _ in range(1200):
            file.write(noise.read(1 << 20))

    done = folder.build(check=False)

    assert done.returncode != 0
    assert "No space left" in done.stderr
    (folder.path / "big").unlink()
    folder.build()
    assert folder.run("cat /copied/small") == "s"
