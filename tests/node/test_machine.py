import os
from pathlib import Path

import pytest

from berm.models import HugePages, Machine
from berm.node.machine import Gauge

STAT = "cpu  {user} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 2 3\n"
MEMINFO = """\
MemTotal:       1000 kB
MemFree:         100 kB
MemAvailable:    400 kB
HugePages_Total:       8
HugePages_Free:        6
HugePages_Rsvd:        1
Hugepagesize:       2048 kB
"""
CPUINFO = """\
processor\t: 0
cpu family\t: 6
model\t\t: 85
model name\t: A processor: fast

processor\t: 1
cpu family\t: 7
"""
MOUNTS = "/dev/vda / ext4 rw 0 0\ntmpfs {home}/with\\040blank tmpfs rw 0 0\ntmpfs /proc proc rw 0 0\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    proc = tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "stat").write_text(STAT.format(user=100, idle=100))
    (proc / "meminfo").write_text(MEMINFO)
    (proc / "cpuinfo").write_text(CPUINFO)
    (proc / "self/mounts").write_text(MOUNTS.format(home=tmp_path))
    return proc


def test_the_machine_and_its_load(tmp_path: Path, proc: Path) -> None:
    (tmp_path / "with blank").mkdir()
    gauge = Gauge((tmp_path, tmp_path / "with blank", tmp_path / "with blank/pool"), proc)
    (proc / "stat").write_text(STAT.format(user=130, idle=110))
    load = gauge.read()
    assert load.cpu_percent == 75
    assert (load.memory_total, load.memory_used) == (1000 << 10, 600 << 10)
    assert load.huge_pages == HugePages(total=8, used=2, reserved=1, size=2 << 20)
    assert [(disk.mount_point, disk.device, disk.kind) for disk in load.disks] == [
        ("/", "/dev/vda", "ext4"),
        (f"{tmp_path}/with blank", "tmpfs", "tmpfs"),
    ]
    assert all(0 < disk.used <= disk.total for disk in load.disks)
    assert gauge.machine() == Machine("6", "85", "A processor: fast", os.uname().machine)


def test_two_readings_at_once_tell_the_same(tmp_path: Path, proc: Path) -> None:
    gauge = Gauge((tmp_path,), proc)
    (proc / "stat").write_text(STAT.format(user=130, idle=110))
    assert gauge.read().cpu_percent == gauge.read().cpu_percent == 75


def test_this_machine(tmp_path: Path) -> None:
    load = Gauge((tmp_path,)).read()
    assert load.cpu_count == os.cpu_count()
    assert 0 <= load.cpu_percent <= 100
    assert 0 < load.memory_used < load.memory_total
    assert len(load.disks) == 1
