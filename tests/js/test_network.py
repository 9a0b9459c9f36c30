"""The official JavaScript SDK says what a sandbox may reach outside."""

from pathlib import Path

import pytest

from tests.js.node import Node
from tests.outside import ADDRESS, OTHER, SOCKS, internet
from tests.outside_server import PASSWORD, USER

pytestmark = [pytest.mark.sdk, pytest.mark.root]


def test_lists_are_set_and_replaced(node: Node, tmp_path: Path) -> None:
    proxy = f"{SOCKS}:1080"
    with internet(tmp_path) as outside:
        done = node.run("network.mjs", ADDRESS, OTHER, proxy, USER, PASSWORD)
        tunnelled = [entry["asked"] for entry in outside.seen() if entry["event"] == "socks"]
    assert done["made"] == ["yes", "no"]
    assert (done["network"]["allowOut"], done["network"]["denyOut"]) == ([ADDRESS], ["0.0.0.0/0"])
    assert done["updated"] == ["no", "yes"]
    assert done["closed"] == ["no", "no"]
    assert done["named"]["allowOut"] == ["named.example.com"]
    assert done["proxied"] == ["yes", "yes"]
    assert tunnelled == [ADDRESS, OTHER]
    assert done["egressProxy"] == {"address": proxy, "username": USER}
    assert "network.denyOut: 'example.com' is not an IPv4 address or network" in done["failures"][0]
    assert done["failures"][1].startswith("SandboxNotFoundError")
