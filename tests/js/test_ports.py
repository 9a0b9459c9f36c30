"""The official JavaScript SDK reaches ports and signed links by their names, over plain HTTP and over TLS."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.instance import Instance, over_tls
from tests.js.node import Node

pytestmark = [pytest.mark.sdk, pytest.mark.root]


@pytest.fixture
def remote(berm: Instance, node: Node, tmp_path: Path) -> Iterator[Node]:
    """A client that knows a domain, a key and whom to trust."""
    with over_tls(berm, tmp_path) as env:
        kept = {name: value for name, value in node.env.items() if not name.startswith("E2B_")}
        yield replace(node, env={**kept, **env, "NODE_EXTRA_CA_CERTS": env["CA"]})


def check(node: Node, scheme: str) -> None:
    seen = node.run("ports.mjs", scheme)
    own = f"8000-{seen['open']['id']}.{node.env['E2B_DOMAIN']}"
    for name, bare, host in (("open", 200, own), ("private", 403, "app-8000")):
        sandbox = seen[name]
        assert (sandbox["bare"], sandbox["answer"]) == (bare, f"{host}/a")
        assert (sandbox["link"], sandbox["over"]) == (True, 401)
        assert (sandbox["uploaded"], sandbox["sent"]) == (200, "sent")
    assert seen["private"]["network"]["allowPublicTraffic"] is False
    assert seen["private"]["network"]["maskRequestHost"] == "app-${PORT}"


def test_plain(node: Node) -> None:
    check(node, "http")


def test_tls(remote: Node) -> None:
    check(remote, "https")
