"""Other ways to start a program in the same root filesystem: bubblewrap(1), runc(8), crun(1).

Each gets namespaces for mounts, pids, ipc, host name and network, and runs `true`. None of them keeps what is
written, limits what is used, connects a network or answers an API afterwards.
"""

import itertools
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

Start = Callable[[], None]
"""Starts one sandbox and waits until `true` has ended in it."""

_NUMBERS: Final = itertools.count()


@contextmanager
def ways(rootfs: Path) -> Iterator[Mapping[str, Start]]:
    """Every other way by its name."""
    with tempfile.TemporaryDirectory(prefix="berm-bench-") as bundle:
        _write_bundle(Path(bundle), rootfs)
        yield {"bwrap": _bwrap(rootfs), "runc": _oci("runc", bundle), "crun": _oci("crun", bundle)}


def _bwrap(rootfs: Path) -> Start:
    mounts = ["--ro-bind", str(rootfs), "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108

    def start() -> None:
        subprocess.run(["bwrap", "--unshare-all", *mounts, "true"], check=True)

    return start


def _oci(runtime: str, bundle: str) -> Start:
    def start() -> None:
        name = f"berm-bench-{os.getpid()}-{next(_NUMBERS)}"
        subprocess.run([runtime, "run", "--bundle", bundle, name], check=True)

    return start


def _write_bundle(bundle: Path, rootfs: Path) -> None:
    subprocess.run(["runc", "spec", "--bundle", str(bundle)], check=True)
    file = bundle / "config.json"
    spec: dict[str, Any] = json.loads(file.read_text())
    spec["process"] |= {"args": ["true"], "terminal": False}
    spec["root"] = {"path": str(rootfs), "readonly": True}
    file.write_text(json.dumps(spec))
