"""A network namespace that plays the internet, with servers, under names and addresses of this run's."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.instance import NUMBER

_NETS: Final = ("203.0.113", "198.51.100", "192.0.2")
"""For documentation (RFC 5737): the rules treat them as any public network."""
_INDEX: Final = NUMBER % 96
_NET: Final = f"{_NETS[_INDEX // 32]}."
_FIRST: Final = _INDEX % 32 * 8

NAME: Final = f"berm-outside-{NUMBER}"
HOST: Final = f"{_NET}{_FIRST + 1}"
"""The host's own address on that network, as public as the others."""
ADDRESS: Final = f"{_NET}{_FIRST + 2}"
OTHER: Final = f"{_NET}{_FIRST + 3}"
SOCKS: Final = f"{_NET}{_FIRST + 4}"
NETWORK: Final = f"{_NET}{_FIRST}/29"
PRIVATE: Final = f"192.168.{NUMBER}.2"
PRIVATE_HOST: Final = f"192.168.{NUMBER}.1"
_DEVICE: Final = f"bout{NUMBER}"
_SERVER: Final = Path(__file__).with_name("outside_server.py")


@dataclass(frozen=True)
class Outside:
    """The servers' log: one line of JSON for each connection's end and each request, in `log`."""

    log: Path

    def seen(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def received() -> int:
    """Packets that the playing internet has received."""
    command = ["ip", "-n", NAME, "-j", "-s", "link", "show", "eth0"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(json.loads(done.stdout)[0]["stats64"]["rx"]["packets"])


@contextmanager
def internet(directory: Path) -> Iterator[Outside]:
    """Make it, and take it away whole."""
    names = Path("/run/netns")
    had_names = names.is_mount()
    _ip("netns", "add", NAME)
    try:
        _wire()
        with _servers(directory) as outside:
            yield outside
    finally:
        # Here and now: with its namespace it would go some time after.
        _ip("link", "delete", _DEVICE)
        _ip("netns", "delete", NAME)
        # ip(8) mounts a directory for names and leaves it there.
        if not had_names and not list(names.iterdir()):
            subprocess.run(["umount", str(names)], check=True)


def _wire() -> None:
    _ip("link", "add", _DEVICE, "type", "veth", "peer", "name", "eth0", "netns", NAME)
    for address in (f"{HOST}/29", f"{PRIVATE_HOST}/24"):
        _ip("address", "add", address, "dev", _DEVICE)
    _ip("link", "set", _DEVICE, "up")
    for address in (f"{ADDRESS}/29", f"{OTHER}/29", f"{SOCKS}/29", f"{PRIVATE}/24"):
        _ip("-n", NAME, "address", "add", address, "dev", "eth0")
    for link in ("lo", "eth0"):
        _ip("-n", NAME, "link", "set", link, "up")


@contextmanager
def _servers(directory: Path) -> Iterator[Outside]:
    log = directory / "outside.log"
    command = ["ip", "netns", "exec", NAME, sys.executable, "-u", str(_SERVER), str(directory), SOCKS]
    with log.open("a") as output:
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output)
    try:
        while "serving" not in log.read_text():
            assert server.poll() is None
        log.write_text("")
        yield Outside(log)
    finally:
        server.kill()
        server.communicate()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
