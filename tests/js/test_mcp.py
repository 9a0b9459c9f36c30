"""The JavaScript SDK starts the `mcp-gateway` of a template."""

from pathlib import Path

import pytest

from tests.instance import Instance
from tests.js.node import Node
from tests.sdk.products import mcp_gateway

pytestmark = [pytest.mark.sdk, pytest.mark.root]


def test_mcp(node: Node, berm: Instance, tmp_path: Path) -> None:
    with mcp_gateway(berm, tmp_path):
        found = node.run("mcp.mjs")
    assert (found["token"], found["same"], found["url"]) == (36, True, True)
    assert found["config"] == {"time": {}, "github": {"token": 'it\'s "quoted" $HOME'}}
    assert found["failures"] == {"broken": "SandboxError: Failed to start MCP gateway: no such server\n"}
