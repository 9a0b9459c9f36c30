"""What this machine must have to run sandboxes, as a table of requirements."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path

_GIB = 1024**3


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a probe saw, and whether that will do."""

    found: str
    met: bool


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report."""

    name: str
    found: str
    wanted: str
    level: Level
    fix: str
    """What to do about it; empty if nothing."""


def succeeds(command: Sequence[str]) -> bool:
    """Whether a program can be run and exits with 0."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class Host:
    """The machine as the probes see it."""

    home: Path
    domain: str = "localhost"
    """Of the names of sandboxes, with or without a port."""
    root: Path = Path("/")
    uid: int = field(default_factory=os.geteuid)
    python: str = field(default_factory=platform.python_version)
    run: Callable[[Sequence[str]], bool] = succeeds
    which: Callable[[str], str | None] = shutil.which

    def read(self, path: str) -> str:
        """A file below the root, empty if it cannot be read."""
        try:
            return (self.root / path).read_text()
        except OSError:
            return ""

    def exists(self, path: str) -> bool:
        return (self.root / path).exists()


@dataclass(frozen=True, slots=True)
class Requirement:
    """One row: what is wanted, how to look, and the line that mends it."""

    name: str
    wanted: str
    probe: Callable[[Host], Finding]
    fix: str
    missing: Level = Level.FAIL

    def check(self, host: Host) -> Check:
        finding = self.probe(host)
        level = Level.OK if finding.met else self.missing
        return Check(self.name, finding.found, self.wanted, level, "" if finding.met else self.fix)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])


def _root(host: Host) -> Finding:
    return Finding("root" if host.uid == 0 else f"user id {host.uid}", host.uid == 0)


def _kernel(host: Host) -> Finding:
    release = host.read("proc/sys/kernel/osrelease").strip()
    return Finding(release or "unknown", _version(release) >= (5, 19))


def _python(host: Host) -> Finding:
    return Finding(host.python, _version(host.python) >= (3, 11))


def _filesystem(host: Host, name: str) -> bool:
    """Whether the kernel has a filesystem, or the module for it."""
    return name in host.read("proc/filesystems").split() or host.run(["modprobe", "--dry-run", name])


def _overlay(host: Host) -> Finding:
    met = _filesystem(host, "overlay")
    return Finding("present" if met else "absent", met)


def _user_namespaces(host: Host) -> Finding:
    text = host.read("proc/sys/user/max_user_namespaces").strip()
    return Finding(text or "absent", text.isdecimal() and int(text) > 0)


_CONTROLLERS = ("cpu", "memory", "pids")


def _cgroups(host: Host) -> Finding:
    unified = host.read("sys/fs/cgroup/cgroup.controllers").split()
    legacy = [name for name in _CONTROLLERS if host.exists(f"sys/fs/cgroup/{name}/cgroup.procs")]
    version, there = ("v2", unified) if unified else ("v1", legacy)
    usable = [name for name in _CONTROLLERS if name in there]
    return Finding(f"{version}: {', '.join(usable)}" if usable else "none", len(usable) == len(_CONTROLLERS))


def _nftables(host: Host) -> Finding:
    met = host.run(["nft", "list", "tables"])
    return Finding("usable" if met else "`nft list tables` fails", met)


def _storage(host: Host) -> Finding:
    loop = host.exists("dev/loop-control") or host.run(["modprobe", "--dry-run", "loop"])
    btrfs = _filesystem(host, "btrfs")
    lacking = [name for name, there in (("loop devices", loop), ("btrfs", btrfs)) if not there]
    return Finding(f"no {' and no '.join(lacking)}" if lacking else "present", not lacking)


def _names(host: Host) -> Finding:
    name = f"8000-sandbox.{host.domain.partition(':')[0]}"
    # A name server that does not answer would be waited for.
    met = host.run(["timeout", "3", "getent", "ahosts", name])
    return Finding("resolve" if met else f"{name} does not resolve", met)


def _forwarding(host: Host) -> Finding:
    text = host.read("proc/sys/net/ipv4/ip_forward").strip()
    return Finding(text or "unknown", text == "1")


def _existing(path: Path) -> Path:
    return next(parent for parent in (path, *path.parents) if parent.exists())


def _disk(host: Host) -> Finding:
    free = shutil.disk_usage(_existing(host.home)).free
    return Finding(f"{free / _GIB:.1f} GiB", free >= 10 * _GIB)


def _memory(host: Host) -> Finding:
    match = re.search(r"^MemTotal:\s+(\d+) kB", host.read("proc/meminfo"), re.MULTILINE)
    total = int(match[1]) * 1024 if match else 0
    return Finding(f"{total / _GIB:.1f} GiB", total >= 2 * _GIB)


def _program(host: Host, name: str) -> Finding:
    path = host.which(name)
    return Finding(path or "not found", path is not None)


def _program_row(name: str, package: str, purpose: str, missing: Level) -> Requirement:
    return Requirement(name, purpose, partial(_program, name=name), f"apt-get install {package}", missing)


NAMES = "names"
"""The check that is told when a server starts, as nothing else would show it."""

REQUIREMENTS = (
    Requirement("user", "root", _root, "run it as root, as with sudo"),
    Requirement(
        "kernel", "Linux 5.19 or newer", _kernel, "boot a newer kernel: overlays need idmapped mounts"
    ),
    Requirement("python", "3.11 or newer", _python, "install a newer Python and berm in it"),
    Requirement("overlayfs", "in the kernel", _overlay, "boot a kernel with overlayfs (CONFIG_OVERLAY_FS)"),
    Requirement("user namespaces", "allowed", _user_namespaces, "sysctl -w user.max_user_namespaces=65536"),
    Requirement(
        "cgroups",
        ", ".join(_CONTROLLERS),
        _cgroups,
        "boot with cgroup_enable=memory, and mount /sys/fs/cgroup",
    ),
    Requirement(
        "nftables", "usable", _nftables, "apt-get install nftables, and boot a kernel with nf_tables"
    ),
    Requirement(
        "storage", "loop devices, btrfs", _storage, "without them sandboxes have no disk limits", Level.WARN
    ),
    Requirement("ip_forward", "1", _forwarding, "nothing to do: `berm up` sets it", Level.WARN),
    Requirement(
        NAMES,
        "of sandboxes resolve",
        _names,
        "apt-get install libnss-myhostname; for a domain of your own, a wildcard in its DNS",
        Level.WARN,
    ),
    _program_row("nft", "nftables", "network rules", Level.FAIL),
    _program_row("ip", "iproute2", "looking at networks", Level.WARN),
    _program_row("skopeo", "skopeo", "pulling images", Level.WARN),
    _program_row("umoci", "umoci", "unpacking images", Level.WARN),
    _program_row("mmdebstrap", "mmdebstrap", "bootstrapping the base template", Level.WARN),
    _program_row("mkfs.btrfs", "btrfs-progs", "disk limits", Level.WARN),
    Requirement("disk", "10 GiB free", _disk, "free some, or set BERM_HOME to a larger disk", Level.WARN),
    Requirement("memory", "2 GiB", _memory, "expect room for few sandboxes", Level.WARN),
)


def run_checks(host: Host) -> list[Check]:
    """Every requirement, in the order of the table."""
    return [requirement.check(host) for requirement in REQUIREMENTS]
