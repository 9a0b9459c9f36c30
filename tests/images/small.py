"""A root filesystem of two Debian packages, busybox-static and musl: no glibc, no Python, no bash."""

import os
import shutil
import subprocess
from pathlib import Path

_DIRECTORIES = ("bin", "dev", "etc", "lib", "proc", "root", "run", "sbin", "sys", "tmp", "usr/bin", "var/tmp")
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "etc/os-release": "ID=small\n",
}


def busybox_rootfs(path: Path) -> Path:
    """Make a small root filesystem at `path`, owned by root if the caller is; returns `path`."""
    for name in _DIRECTORIES:
        (path / name).mkdir(parents=True)
    (path / "tmp").chmod(0o1777)
    for name, text in _FILES.items():
        (path / name).write_text(text)
    _add_busybox(path)
    _add_musl(path)
    return path


def _add_busybox(path: Path) -> None:
    shutil.copy("/usr/bin/busybox", path / "bin/busybox")
    applets = subprocess.run(["busybox", "--list"], check=True, capture_output=True, text=True)
    for name in applets.stdout.split():
        if name != "busybox":
            (path / "bin" / name).symlink_to("busybox")


def _add_musl(path: Path) -> None:
    files = subprocess.run(["dpkg", "-L", "musl"], check=True, capture_output=True, text=True)
    for name in files.stdout.split():
        if name.startswith("/lib/") and not os.path.isdir(name):  # noqa: PTH112 - text from dpkg
            target = path / name.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, target, follow_symlinks=False)
