"""A berm whose server resolves names of the playing internet, by an /etc/hosts that it alone sees."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.instance import BERM, Instance
from tests.outside import ADDRESS, HOST, OTHER, PRIVATE, SOCKS

NAMES = {
    "allowed.test": [ADDRESS],
    "deep.below.allowed.test": [OTHER],
    "other.test": [OTHER],
    "rebound.test": [PRIVATE],
    "loop.test": ["127.0.0.1"],
    "metadata.test": ["169.254.169.254"],
    "host.test": [HOST],
    "both.test": [PRIVATE, ADDRESS],
    "socks.test": [SOCKS],
    "imposter.example": [ADDRESS],
}


def start(berm: Instance, directory: Path) -> None:
    """Start another server, which resolves these names and trusts their certificates.

    Launcher and sandboxes stay.
    """
    hosts = directory / "hosts"
    lines = [f"{address} {name}\n" for name, addresses in NAMES.items() for address in addresses]
    hosts.write_text("127.0.0.1 localhost\n" + "".join(lines))
    berm.berm("down")
    script = f"mount --bind {hosts} /etc/hosts && exec {BERM} up"
    command = ["unshare", "--mount", "sh", "-c", script]
    env = {**berm.env, "SSL_CERT_FILE": str(directory / "outside.pem")}
    subprocess.run(command, env=env, check=True, capture_output=True, text=True)


@contextmanager
def resolving(berm: Instance, directory: Path) -> Iterator[None]:
    """The server is another one meanwhile."""
    start(berm, directory)
    try:
        yield
    finally:
        berm.berm("down")
        berm.berm("up")
