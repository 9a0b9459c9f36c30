"""Real kernel objects need root; the fixtures make them under names of their own and take them away."""

import ipaddress
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from berm.launcher import network
from tests.instance import NUMBER


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture
def plan() -> network.Plan:
    instance = f"t{os.getpid() % 1000:03d}"
    return network.Plan(instance, ipaddress.IPv4Network(f"10.219.{NUMBER}.0/24"), 0x40000000)


@pytest.fixture
def btrfs(tmp_path: Path) -> Iterator[Path]:
    """A small btrfs, mounted."""
    if not shutil.which("mkfs.btrfs"):
        pytest.skip("needs btrfs-progs")
    image, mount = tmp_path / "image", tmp_path / "mount"
    with image.open("wb") as file:
        file.truncate(256 << 20)
    mount.mkdir()
    subprocess.run(["mkfs.btrfs", "--quiet", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(mount)], check=True)
    yield mount
    subprocess.run(["umount", str(mount)], check=True)
