from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from berm.cli.checks import REQUIREMENTS, Check, Host, Level, run_checks, succeeds

FILES = {
    "proc/sys/kernel/osrelease": "6.1.0-18-amd64\n",
    "proc/filesystems": "nodev\toverlay\n\tbtrfs\n",
    "proc/sys/user/max_user_namespaces": "15000\n",
    "proc/sys/net/ipv4/ip_forward": "1\n",
    "proc/meminfo": "MemTotal:       16000000 kB\nMemFree: 1 kB\n",
    "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n",
    "dev/loop-control": "",
}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A machine that has it all: its files below a directory, its programs answered for."""
    for name, text in FILES.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Host(
        home=tmp_path / "not" / "made" / "yet",
        root=tmp_path / "root",
        uid=0,
        python="3.12.1",
        run=lambda command: command[0] in ("nft", "timeout"),
        which=lambda name: f"/usr/bin/{name}",
    )


def found(host: Host, name: str) -> Check:
    return next(check for check in run_checks(host) if check.name == name)


def test_a_machine_that_has_it_all(host: Host) -> None:
    required = [check for check in run_checks(host) if check.name not in ("disk", "memory")]
    assert {check.level for check in required} == {Level.OK}
    assert {check.fix for check in required} == {""}


@pytest.mark.parametrize(
    ("path", "text", "name", "level"),
    [
        ("proc/sys/kernel/osrelease", "5.18.9\n", "kernel", Level.FAIL),
        ("proc/sys/kernel/osrelease", "5.19.0-rc1\n", "kernel", Level.OK),
        ("proc/sys/kernel/osrelease", "", "kernel", Level.FAIL),
        ("proc/filesystems", "nodev\ttmpfs\n", "overlayfs", Level.FAIL),
        ("proc/filesystems", "nodev\toverlay\n", "storage", Level.WARN),
        ("proc/sys/user/max_user_namespaces", "0\n", "user namespaces", Level.FAIL),
        ("proc/sys/user/max_user_namespaces", "", "user namespaces", Level.FAIL),
        ("sys/fs/cgroup/cgroup.controllers", "cpu io memory\n", "cgroups", Level.FAIL),
        ("sys/fs/cgroup/cgroup.controllers", "", "cgroups", Level.FAIL),
        ("proc/sys/net/ipv4/ip_forward", "0\n", "ip_forward", Level.WARN),
        ("proc/meminfo", "MemTotal: 1000000 kB\n", "memory", Level.WARN),
        ("proc/meminfo", "", "memory", Level.WARN),
    ],
)
def test_what_a_file_of_the_machine_says(host: Host, path: str, text: str, name: str, level: Level) -> None:
    (host.root / path).write_text(text)
    check = found(host, name)
    assert check.level is level
    assert bool(check.fix) is (level is not Level.OK)


def test_controllers_of_cgroup_v1(host: Host) -> None:
    (host.root / "sys/fs/cgroup/cgroup.controllers").unlink()
    for name in ("cpu", "memory", "pids"):
        assert found(host, "cgroups").level is Level.FAIL
        directory = host.root / "sys/fs/cgroup" / name
        directory.mkdir()
        (directory / "cgroup.procs").touch()
    assert found(host, "cgroups").found == "v1: cpu, memory, pids"
    assert found(host, "cgroups").level is Level.OK


def test_a_module_that_can_be_loaded_will_do(host: Host) -> None:
    (host.root / "proc/filesystems").write_text("")
    loadable = replace(host, run=lambda command: command == ["modprobe", "--dry-run", "overlay"])
    assert found(loadable, "overlayfs").level is Level.OK
    assert found(loadable, "storage").found == "no btrfs"


@pytest.mark.parametrize(
    ("change", "name", "level"),
    [
        (lambda host: replace(host, uid=1000), "user", Level.FAIL),
        (lambda host: replace(host, python="3.10.14"), "python", Level.FAIL),
        (lambda host: replace(host, run=lambda _command: False), "nftables", Level.FAIL),
        (lambda host: replace(host, which=lambda _name: None), "nft", Level.FAIL),
        (lambda host: replace(host, which=lambda _name: None), "skopeo", Level.WARN),
    ],
)
def test_what_the_machine_is_and_has(
    host: Host, change: Callable[[Host], Host], name: str, level: Level
) -> None:
    assert found(change(host), name).level is level


@pytest.mark.parametrize(
    ("domain", "name"),
    [("localhost:49980", "8000-sandbox.localhost"), ("a.example", "8000-sandbox.a.example")],
)
def test_names_of_sandboxes_are_resolved(host: Host, domain: str, name: str) -> None:
    asked: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> bool:
        asked.append(command)
        return False

    check = found(replace(host, domain=domain, run=run), "names")
    assert (check.level, check.found) == (Level.WARN, f"{name} does not resolve")
    assert "libnss-myhostname" in check.fix
    assert ["timeout", "3", "getent", "ahosts", name] in asked


def test_a_name_is_looked_up_for_real() -> None:
    look = ["timeout", "3", "getent", "ahosts"]
    assert succeeds([*look, "localhost"])
    assert not succeeds([*look, "no-such-name.invalid"])


def test_every_requirement_is_told_apart_and_says_what_to_do() -> None:
    assert len({requirement.name for requirement in REQUIREMENTS}) == len(REQUIREMENTS)
    assert all(requirement.fix for requirement in REQUIREMENTS)


@pytest.mark.parametrize(
    ("command", "expected"), [(["true"], True), (["false"], False), (["/no/such"], False)]
)
def test_succeeds(command: Sequence[str], expected: bool) -> None:
    assert succeeds(command) is expected
