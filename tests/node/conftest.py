"""A node over a real launcher, with a root of busybox and musl: no Python, no glibc, no bash inside."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from berm.config import Config, load
from berm.node import daemon
from berm.node.local import LocalNode
from tests.images.small import busybox_rootfs
from tests.instance import NUMBER
from tests.node.sandboxes import LAYER


@pytest.fixture
def machine(tmp_path: Path) -> Config:
    return load(
        {
            "BERM_HOME": str(tmp_path),
            "BERM_SUBNET": f"10.218.{NUMBER % 16 * 16}.0/20",
            "BERM_UID_BASE": str(0x58000000),
            "BERM_WARM_SLOTS": "2",
            "BERM_POOL_GB": "1",
        }
    )


@pytest.fixture
async def node(machine: Config) -> AsyncIterator[LocalNode]:
    node = LocalNode(machine)
    try:
        await node.start()
        busybox_rootfs(await node.new_layer(LAYER))
        yield node
    finally:
        await node.close()
        await daemon.tear_down(machine)
