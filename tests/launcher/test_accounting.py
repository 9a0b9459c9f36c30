import os
import signal
from pathlib import Path

import pytest

from berm.launcher import accounting, btrfs, cgroup
from berm.launcher.accounting import Counts
from tests.launcher.test_cgroup import drivers

CPU_STAT = "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\nnr_periods 3\n"
STAT_2 = "anon 700\nfile 300\nkernel 50\nshmem 100\ninactive_file 200\n"
STAT_1 = "cache 1\nshmem 1\nhierarchical_memory_limit 4096\ntotal_cache 300\ntotal_shmem 100\ntotal_rss 700\n"


def write(directory: Path, **files: str) -> Path:
    directory.mkdir()
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text)
    return directory


def test_the_files_of_version_two(tmp_path: Path) -> None:
    group = write(tmp_path / "1", cpu__stat=CPU_STAT, memory__stat=STAT_2, memory__current="1050\n")
    # What lies in a tmpfs is used: nothing can take it back.
    assert accounting.Version2(group).read() == Counts(cpu_seconds=2.5, memory=850, cache=200)


def test_the_files_of_version_one(tmp_path: Path) -> None:
    memory = write(tmp_path / "memory", memory__stat=STAT_1, memory__usage_in_bytes="1050\n")
    cpuacct = write(tmp_path / "cpuacct", cpuacct__usage="2500000000\n")
    counted = accounting.Version1(memory, cpuacct).read()
    assert counted == Counts(cpu_seconds=2.5, memory=850, cache=200)


@pytest.mark.parametrize("cpuacct", ["", "missing"])
def test_version_one_without_accounting_tells_memory(tmp_path: Path, cpuacct: str) -> None:
    memory = write(tmp_path / "memory", memory__stat=STAT_1, memory__usage_in_bytes="1050\n")
    counted = accounting.Version1(memory, tmp_path / cpuacct if cpuacct else None).read()
    assert counted == Counts(cpu_seconds=0, memory=850, cache=200)


def test_a_counter_that_lags_behind_another_makes_nothing_negative(tmp_path: Path) -> None:
    group = write(tmp_path / "1", cpu__stat=CPU_STAT, memory__stat=STAT_2, memory__current="100\n")
    assert accounting.Version2(group).read() == Counts(2.5, 0, 100)


def test_a_group_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        accounting.Version2(tmp_path / "1").read()
    with pytest.raises(FileNotFoundError):
        accounting.Version1(tmp_path / "1", tmp_path / "1").read()


def test_accounting_is_joined_once_where_it_is_mounted_with_cpu(tmp_path: Path) -> None:
    for name in ("cpu,cpuacct", "memory", "pids", "freezer"):
        (tmp_path / name).mkdir()
    for name in ("cpu", "cpuacct"):
        (tmp_path / name).symlink_to("cpu,cpuacct")
    groups = cgroup.Version1(tmp_path, "berm-test")
    groups.set_up()
    groups.make("1")
    write(tmp_path / "x", memory__stat=STAT_1)
    (tmp_path / "memory/berm-test/1/memory.stat").write_text(STAT_1)
    (tmp_path / "memory/berm-test/1/memory.usage_in_bytes").write_text("1050")
    (tmp_path / "cpu/berm-test/1/cpuacct.usage").write_text("1000000000")
    assert groups.counter("1").read() == Counts(1, 850, 200)


@pytest.mark.root
@pytest.mark.parametrize(
    "groups",
    [driver for driver in drivers() if getattr(driver, "_controllers", True)],
    ids=lambda groups: type(groups).__name__,
)
def test_what_a_process_uses_is_counted(groups: cgroup.Cgroups) -> None:
    groups.set_up()
    groups.make("busy")
    reader, writer = os.pipe()
    pid = groups.clone_into("busy", 0)
    if pid == 0:
        held = bytearray(30 << 20)
        while os.times().user < 0.3:
            pass
        os.write(writer, b"x")
        signal.pause()
        os._exit(len(held) % 2)
    os.read(reader, 1)
    counts = groups.counter("busy").read()
    groups.remove("busy")
    os.waitpid(pid, 0)
    assert groups.remove("busy")
    groups.tear_down()
    # A forked process has the times of its parent only for children that ended; its own begin at zero.
    assert 0.3 <= counts.cpu_seconds < 3
    assert 30 << 20 <= counts.memory < 100 << 20


@pytest.mark.root
def test_what_a_subvolume_holds(request: pytest.FixtureRequest) -> None:
    volume = Path(request.getfixturevalue("btrfs"))
    btrfs.create(volume / "uncounted")
    assert btrfs.quota_group(volume / "uncounted") is None
    btrfs.enable_quotas(volume)
    btrfs.create(volume / "one")
    btrfs.create(volume / "two")
    group = btrfs.quota_group(volume / "one")
    assert group
    (volume / "two/other").write_bytes(os.urandom(20 << 20))
    assert accounting.Quota(group).read() < 1 << 20
    (volume / "one/mine").write_bytes(os.urandom(10 << 20))
    # It is counted before it is on the disk.
    assert 10 << 20 <= accounting.Quota(group).read() < 11 << 20
    os.sync()
    assert 10 << 20 <= accounting.Quota(group).read() < 11 << 20


def test_other_file_systems_count_nothing(tmp_path: Path) -> None:
    assert btrfs.quota_group(tmp_path) is None
