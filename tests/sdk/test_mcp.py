"""Sandbox.create(mcp=...): the SDK starts the `mcp-gateway` of the template, the server makes a sandbox."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from e2b import Sandbox, SandboxException

from tests.instance import Instance
from tests.sdk.products import mcp_gateway

CONFIG = {"github": {"token": 'it\'s "quoted" $HOME'}, "time": {}}


# Before there is one: the fixture below is made once, by the first test that wants it.
def test_a_template_of_that_name_has_to_be_there(half: Any) -> None:
    with pytest.raises(SandboxException, match="404: template 'mcp-gateway' not found"):
        half.create(mcp={}, timeout=60)


@pytest.fixture(scope="module")
def gateway(berm: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mcp_gateway(berm, tmp_path_factory.mktemp("template")) as name:
        yield name


@pytest.mark.parametrize("named", [False, True])
def test_the_gateway_gets_its_configuration_and_a_token(half: Any, gateway: str, named: bool) -> None:
    sandbox = half.create(mcp=CONFIG, timeout=60, **({"template": gateway} if named else {}))
    try:
        assert sandbox.get_info().name == gateway
        token = sandbox.get_mcp_token()
        assert len(token) == 36
        assert half.connect(sandbox.sandbox_id).get_mcp_token() == token
        assert sandbox.get_mcp_url() == f"https://{sandbox.get_host(50005)}/mcp"
        shown = sandbox.commands.run("curl --silent http://127.0.0.1:50005/mcp").stdout
        assert json.loads(shown) == CONFIG
    finally:
        sandbox.kill()


@pytest.mark.usefixtures("gateway")
def test_a_gateway_that_does_not_start_ends_the_sandbox(half: Any) -> None:
    mark = {"mcp": "broken"}
    with pytest.raises(SandboxException, match="Failed to start MCP gateway: no such server"):
        half.create(mcp={"broken": {}}, metadata=mark, timeout=60)
    assert not [info for info in Sandbox.list().next_items() if info.metadata == mark]
