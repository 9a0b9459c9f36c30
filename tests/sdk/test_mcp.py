"""Sandbox.create(mcp=...): the SDK starts the `mcp-gateway` of the template, the server makes a sandbox."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from e2b import Sandbox, SandboxException, Template

from tests.instance import Instance

CONFIG = {"github": {"token": 'it\'s "quoted" $HOME'}, "time": {}}
# What the real one does as far as the SDK can see: keep the token, listen, and go to the background.
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


# Before there is one: the fixture below is made once, by the first test that wants it.
def test_a_template_of_that_name_has_to_be_there(half: Any) -> None:
    with pytest.raises(SandboxException, match="404: template 'mcp-gateway' not found"):
        half.create(mcp={}, timeout=60)


@pytest.fixture(scope="module")
def gateway(berm: Instance) -> Iterator[str]:
    """The template that the SDK takes when none is named."""
    options: dict[str, Any] = {"api_url": berm.url, "api_key": berm.key}
    script = f"cat > /usr/local/bin/mcp-gateway <<'EOF'\n{GATEWAY}EOF\nchmod 755 /usr/local/bin/mcp-gateway"
    built = Template.build(
        Template().from_base_image().run_cmd(script, user="root"), "mcp-gateway", **options
    )
    yield built.name
    Sandbox.delete_snapshot(built.template_id, **options)


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
