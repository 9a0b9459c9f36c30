import asyncio
import contextlib
import subprocess
from pathlib import Path

import pytest

from berm.errors import BermError
from berm.images import debian
from berm.images.process import ignore

NO_MIRROR = "http://127.0.0.1:9/debian"


def stages_of(*lines: str) -> list[str]:
    told: list[str] = []
    stages = debian.Stages(told.append)
    for line in lines:
        stages.feed(line)
    return told


def test_stages_are_told_and_details_are_not() -> None:
    told = stages_of(
        "I: automatically chosen format: directory",
        "I: running apt-get update...",
        "Get:1 http://somewhere bookworm InRelease [151 kB]",
        "I: extracting archives...",
        "Unpacking libc6:amd64 (2.36) ...",
        "I: success in 50 seconds",
    )
    assert told == ["Running apt-get update", "Extracting archives"]


def test_the_long_stage_is_told_in_tenths() -> None:
    stage = "Installing remaining packages inside the chroot"
    steps = [f"{step}package" for step in ("Get:", "Unpacking ", "Setting up ") for _ in range(30)]
    told = stages_of(
        "I: installing remaining packages inside the chroot...",
        "0 upgraded, 30 newly installed, 0 to remove and 0 not upgraded.",
        *steps,
    )
    assert told == [stage, *(f"{stage}: {percent}%" for percent in range(10, 101, 10))]


def test_the_name_of_the_layer_is_of_its_recipe() -> None:
    assert debian.layer_name() == debian.layer_name(debian.PACKAGES)
    assert debian.layer_name() != debian.layer_name(("less",))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest Debian, for real."""
    target = tmp_path_factory.mktemp("layers") / "debian"
    assert asyncio.run(debian.bootstrap(target, "", ignore, packages=("less",))) == debian.CONFIG
    return target


@pytest.mark.root
def test_a_debian_is_bootstrapped(tree: Path) -> None:
    command = ["chroot", str(tree), "/bin/bash", "-c", "less --version && cat /etc/debian_version"]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert answer.splitlines()[-1].startswith("12.")
    assert "bookworm-security" in (tree / "etc/apt/sources.list").read_text()
    assert [path.name for path in tree.parent.iterdir()] == ["debian"]


@pytest.mark.root
def test_nothing_of_the_host_is_in_it(tree: Path) -> None:
    for name in ("hostname", "resolv.conf"):
        assert (tree / "etc" / name).read_text() == ""


@pytest.mark.root
def test_user_ids_fit_a_sandbox(tree: Path) -> None:
    owners = {(path.lstat().st_uid, path.lstat().st_gid) for path in tree.rglob("*")}
    assert max(max(pair) for pair in owners) < 65536
    assert (0, 42) in owners, "group shadow is kept"


@pytest.mark.root
async def test_a_mirror_that_does_not_answer(tmp_path: Path) -> None:
    with pytest.raises(BermError, match=r"mmdebstrap failed: .*127\.0\.0\.1"):
        await debian.bootstrap(tmp_path / "debian", NO_MIRROR, ignore)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.root
async def test_cancelling_leaves_no_mount_and_no_file(tmp_path: Path) -> None:
    at_work = asyncio.Event()

    def progress(line: str) -> None:
        if line.startswith("Extracting"):
            at_work.set()

    task = asyncio.create_task(debian.bootstrap(tmp_path / "debian", "", progress))
    await at_work.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
    assert not any(root.is_relative_to(tmp_path) for root in _roots())


def _roots() -> list[Path]:
    """Root directories of all processes: a chroot that lives on shows here."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found.append((process / "root").readlink())
    return found
