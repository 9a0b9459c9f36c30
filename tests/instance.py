"""A whole berm for tests, with a state directory, port and addresses of its own, run by its command line."""

import itertools
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from berm.launcher import cgroup
from berm.node.daemon import instance
from tests.certificates import Authority

BERM = str(Path(sys.executable).with_name("berm"))
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
NUMBER = int(os.environ.get("BERM_TEST_NUMBER", "0")) + 10 * _WORKER
"""Keeps instances apart from those of other workers and runs; the next nine numbers belong to it as well."""
_PORTS = itertools.count(20000 + NUMBER % 20 * 500)


@dataclass(frozen=True)
class Instance:
    """A running berm and the environment in which its command line and the SDKs reach it."""

    home: Path
    env: dict[str, str]

    @property
    def url(self) -> str:
        return self.env["E2B_API_URL"]

    @property
    def key(self) -> str:
        return self.env["E2B_API_KEY"]

    @property
    def pool(self) -> Path:
        return self.home / "pool"

    def berm(self, *arguments: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the command line; `options` go to subprocess.run."""
        command = [BERM, *arguments]
        return subprocess.run(
            command, env=self.env, text=True, capture_output=True, check=check, timeout=300, **options
        )

    def server_pid(self) -> int:
        return int(json.loads((self.home / "run/server.json").read_text())["pid"])

    def launcher_pid(self) -> int:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer:
            peer.connect(str(self.home / "run/launcher.sock"))
            credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int.from_bytes(credentials[:4], sys.byteorder)

    def init_pid(self, sandbox_id: str) -> int:
        """The host's number of a running sandbox's process 1."""
        slot = (self.pool / "sandboxes" / sandbox_id / "slot").read_text()
        groups = cgroup.detect(instance(self.home))
        pid = cgroup.init_process(groups.processes(slot))
        assert pid
        return pid

    def kill_server(self) -> None:
        """End the server as a crash would, and wait until it is gone."""
        end(self.server_pid())

    def kill_launcher(self) -> None:
        end(self.launcher_pid())


def end(pid: int) -> None:
    """SIGKILL a process and wait for its end."""
    process = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(process, signal.SIGKILL)
        # A pidfd is readable when its process has ended (pidfd_open(2)).
        select.select([process], [], [])
    finally:
        os.close(process)


def free_port() -> int:
    """One below those that connections get (ip_local_port_range), so that nobody takes it meanwhile."""
    for port in _PORTS:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("there are always more")


@contextmanager
def running(home: Path, number: int, **settings: str) -> Iterator[Instance]:
    """Start a berm in `home`; `number` (0 to 200) keeps its addresses and ids apart from others'."""
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("BERM_", "E2B_"))},
        "BERM_HOME": str(home),
        "BERM_PORT": str(free_port()),
        "BERM_SUBNET": f"10.{20 + number}.0.0/16",
        "BERM_UID_BASE": str(0x50000000 + number * 0x800000),
        "BERM_WARM_SLOTS": "8",
        "BERM_POOL_GB": "16",
        **settings,
    }
    berm = Instance(home, env)
    try:
        berm.berm("up")
        env.update(json.loads(berm.berm("env", "--shell", "json").stdout))
        yield berm
    finally:
        berm.berm("down", "--kill")


@contextmanager
def over_tls(berm: Instance, directory: Path) -> Iterator[dict[str, str]]:
    """A running berm with a TLS port as well; yields what a client elsewhere would set, and `CA`.

    The names of its sandboxes end in berm.localhost, which libnss-myhostname resolves.
    """
    authority = Authority.make(directory)
    issued = authority.issue("front", "berm.localhost", "*.berm.localhost")
    port = free_port()
    settings = {
        "BERM_DOMAIN": "berm.localhost",
        "BERM_TLS_CERT": str(issued.chain),
        "BERM_TLS_KEY": str(issued.key),
        "BERM_TLS_PORT": str(port),
    }
    berm.berm("down")
    try:
        Instance(berm.home, {**berm.env, **settings}).berm("up")
        yield {
            "E2B_DOMAIN": f"berm.localhost:{port}",
            "E2B_API_KEY": berm.key,
            "CA": str(authority.certificate),
        }
    finally:
        berm.berm("down")
        berm.berm("up")
