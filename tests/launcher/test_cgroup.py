import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from berm.launcher import cgroup

pytestmark = pytest.mark.root


@dataclass(frozen=True)
class Limits:
    cpu_count: int = 1
    memory_mb: int = 64
    pids: int = 16


def drivers() -> list[cgroup.Cgroups]:
    """Every driver this host runs. A version 2 tree beside version 1 has no controllers to limit with."""
    name = f"berm-test-{os.getpid()}"
    if (cgroup.MOUNTS / "cgroup.controllers").exists():
        return [cgroup.Version2(cgroup.MOUNTS, name)]
    unified = cgroup.MOUNTS / "unified"
    beside: list[cgroup.Cgroups] = [cgroup.Version2(unified, name, ())] if unified.is_dir() else []
    return [cgroup.Version1(cgroup.MOUNTS, name), *beside]


@pytest.mark.parametrize("groups", drivers(), ids=lambda groups: type(groups).__name__)
def test_a_group_holds_its_process_until_it_is_removed(groups: cgroup.Cgroups) -> None:
    groups.set_up()
    groups.set_up()
    groups.make("one")
    groups.limit("one", Limits())
    assert groups.names() == {"one"}
    reader, writer = os.pipe()
    pid = groups.clone_into("one", 0)
    if pid == 0:
        os.write(writer, b"x")
        signal.pause()
    os.read(reader, 1)
    assert groups.processes("one") == [pid]
    groups.remove("one")
    os.waitpid(pid, 0)
    assert groups.remove("one")
    assert groups.remove("one")
    assert groups.processes("one") == []
    groups.tear_down()
    assert groups.names() == set()


@pytest.mark.parametrize("groups", drivers(), ids=lambda groups: type(groups).__name__)
def test_a_frozen_process_does_not_run(groups: cgroup.Cgroups) -> None:
    groups.set_up()
    groups.make("two")
    reader, writer = os.pipe()
    pid = groups.clone_into("two", 0)
    if pid == 0:
        os.read(reader, 1)
        os._exit(7)
    groups.freeze("two", True)
    os.write(writer, b"x")
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    groups.freeze("two", False)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert groups.remove("two")
    groups.tear_down()


def test_a_host_without_controllers_is_told_which(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    with pytest.raises(OSError, match="memory, pids, freezer"):
        cgroup.detect("abcd", tmp_path)


def test_version_two_is_known_by_its_root_file(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").touch()
    assert isinstance(cgroup.detect("abcd", tmp_path), cgroup.Version2)


def test_process_one_is_found_by_its_inner_number() -> None:
    statuses = {10: "NSpid:\t10\n", 11: "NSpid:\t11\t2\n", 12: "Name: x\nNSpid:\t12\t1\n", 13: ""}
    assert cgroup.init_process(list(statuses), statuses.__getitem__) == 12
    assert cgroup.init_process([10, 11, 13], statuses.__getitem__) is None
