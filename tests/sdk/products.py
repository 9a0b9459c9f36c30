"""Templates that several tests want, made by the command line and deleted after."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.instance import Instance

# What the real one does as far as an SDK can see: keep the token, listen, and go to the background.
GATEWAY = r"""#!/bin/sh
test "$1" = --config && test "$(id -u)" = 0 || exit 2
case $2 in *broken*) echo "no such server" >&2; exit 3;; esac
mkdir -p /etc/mcp-gateway/www
printf %s "$GATEWAY_ACCESS_TOKEN" > /etc/mcp-gateway/.token
chmod 600 /etc/mcp-gateway/.token
printf %s "$2" > /etc/mcp-gateway/www/mcp
cd /etc/mcp-gateway/www
python3 -m http.server 50005 > /dev/null 2>&1 &
until curl --silent --output /dev/null http://127.0.0.1:50005/mcp; do :; done
"""


@contextmanager
def small_disk(berm: Instance, folder: Path) -> Iterator[str]:
    """A template whose sandboxes may write 128 MiB."""
    (folder / "Dockerfile").write_text("FROM e2bdev/base\n")
    with _built(berm, folder, 'name = "small-disk"\ndisk_mb = 128\n'):
        yield "small-disk"


@contextmanager
def mcp_gateway(berm: Instance, folder: Path) -> Iterator[str]:
    """The template that the SDKs take for `mcp` when none is named."""
    (folder / "mcp-gateway").write_text(GATEWAY)
    (folder / "Dockerfile").write_text(
        "FROM e2bdev/base\nCOPY --chmod=755 mcp-gateway /usr/local/bin/\nUSER user\n"
    )
    with _built(berm, folder, 'name = "mcp-gateway"\n'):
        yield "mcp-gateway"


@contextmanager
def _built(berm: Instance, folder: Path, definition: str) -> Iterator[None]:
    (folder / "e2b.toml").write_text(definition)
    berm.berm("template", "build", str(folder))
    yield
    berm.berm("template", "delete", definition.split('"')[1])
