"""Dockerfiles and contexts that mean harm: a clear error each, nothing lost, nothing left."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.building.folder import BASE, Folder
from tests.instance import BERM

SMALL = "memory_mb = 128\ncpu_count = 1\ndisk_mb = 256\n"

KERNEL = (
    "echo 1 > /proc/sys/kernel/panic",
    "echo c > /proc/sysrq-trigger",
    "echo 0 > /sys/kernel/mm/ksm/run",
    "mount -t proc proc /mnt",
    "mknod /dev/disk b 8 0 && cat /dev/disk",
)


@pytest.mark.parametrize("command", KERNEL)
def test_a_step_has_no_power_over_the_kernel(folder: Folder, command: str) -> None:
    folder.write(f"FROM {BASE}\nRUN {command}\n")

    assert "exit status" in folder.fails()


def test_what_is_written_to_proc_and_dev_is_in_no_layer(folder: Folder) -> None:
    folder.write(f"FROM {BASE}\nRUN echo x > /dev/shm/x && touch /dev/y && echo kept > /kept\n")

    folder.build()

    assert folder.run("ls -A /dev/shm; ls /dev/y 2> /dev/null; cat /kept") == "kept\n"


def test_a_fork_bomb_ends_with_its_step(folder: Folder) -> None:
    folder.write(
        f"FROM {BASE}\nCOPY bomb.py /\nRUN timeout 3 python3 /bomb.py; exit 9\n",
        {"bomb.py": "import os\nwhile True:\n    try: os.fork()\n    except OSError: os._exit(9)\n"},
        toml=SMALL,
    )

    assert "failed to run command" in folder.fails()
    folder.write(f"FROM {BASE}\nRUN echo after\n", toml=SMALL)
    folder.build()


def test_a_full_disk_fails_the_step(folder: Folder) -> None:
    folder.write(f"FROM {BASE}\nRUN head -c 400M /dev/zero > /big\n", toml=SMALL)

    assert "Disk quota exceeded" in folder.fails()


def test_a_step_that_takes_all_memory_fails(folder: Folder) -> None:
    hog = "held = [bytearray(b'x' * 2**20) for _ in range(512)]"
    folder.write(f'FROM {BASE}\nRUN python3 -c "{hog}"\n', toml=SMALL)

    assert "failed to run command" in folder.fails()


def test_a_step_that_kills_everything_fails(folder: Folder) -> None:
    folder.write(f"FROM {BASE}\nRUN kill -9 -1\n")

    assert "failed to run command" in folder.fails()


def test_a_link_out_of_the_context_is_copied_as_a_link(folder: Folder, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    folder.write(f"FROM {BASE}\nCOPY . /copied/\n")
    (folder.path / "out").symlink_to(secret)
    (folder.path / "up").symlink_to("../secret")

    folder.build()

    shown = folder.run("readlink /copied/out /copied/up; cat /copied/out /copied/up 2> /dev/null; true")
    assert shown == f"{secret}\n../secret\n"


@pytest.mark.parametrize("source", ["../secret", "link"])
def test_nothing_is_copied_from_outside_of_the_context(folder: Folder, tmp_path: Path, source: str) -> None:
    (tmp_path / "secret").write_text("of the host")
    folder.write(f"FROM {BASE}\nCOPY {source} /copied\n")
    (folder.path / "link").symlink_to("../secret")

    assert "Dockerfile:2" in folder.fails()


def test_devices_in_the_context_are_refused(folder: Folder) -> None:
    folder.write(f"FROM {BASE}\nCOPY . /copied/\n")
    os.mkfifo(folder.path / "pipe")
    os.mknod(folder.path / "disk", 0o600 | 0o060000, os.makedev(8, 0))

    said = folder.fails()

    assert "pipe" in said
    assert "disk" in said


def test_names_that_are_not_text(folder: Folder) -> None:
    folder.write(f"FROM {BASE}\nCOPY names /copied/\n", {"names/plain": "1"})
    (folder.path / "names" / os.fsdecode(b"caf\xe9")).write_text("2")

    folder.build()

    assert folder.run("ls /copied | wc -l; cat /copied/caf*").split() == ["2", "2"]


def test_a_sparse_file_is_copied(folder: Folder) -> None:
    folder.write(f"FROM {BASE}\nCOPY big /big\n")
    with (folder.path / "big").open("wb") as file:
        file.truncate(200 << 20)

    folder.build()

    assert folder.run("stat -c %s /big").strip() == str(200 << 20)


def test_a_link_in_the_image_leads_nowhere_out(folder: Folder, tmp_path: Path) -> None:
    """The target's parent is a link that the image made, to a path that the host has too."""
    outside = tmp_path / "outside"
    outside.mkdir()
    folder.write(
        f"FROM {BASE}\nRUN mkdir -p {outside} && ln -s {outside} /trap && ln -s /../../../.. /up\n"
        "COPY file /trap/\nCOPY file /up/found\n",
        {"file": "x"},
    )

    folder.build()

    assert not any(outside.iterdir())
    assert folder.run(f"ls {outside}; cat /found") == "file\nx"


def test_two_builds_of_one_template_at_once(folder: Folder) -> None:
    folder.write(f"FROM {BASE}\nRUN sleep 0.5 && date +%N > /made\n")

    with _started(folder) as first, _started(folder) as second:
        ends = [process.wait() for process in (first, second)]

    assert ends == [0, 0]
    made = folder.run("cat /made")
    assert folder.run("cat /made", f"{folder.name}@1") == made
    assert folder.run("cat /made", f"{folder.name}@2") == made


def _started(folder: Folder) -> "subprocess.Popen[bytes]":
    command = [BERM, "template", "build", str(folder.path)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, env=folder.berm.env, stdout=quiet, stderr=quiet)
