"""Secrets through the official JavaScript SDK."""

import uuid

import pytest

from tests.js.node import Node

pytestmark = [pytest.mark.sdk, pytest.mark.root]


def test_a_secret_from_its_making_to_its_end(node: Node) -> None:
    name = f"js-{uuid.uuid4().hex[:12]}"
    done = node.run("secrets.mjs", name, "plain value")
    assert (done["made"]["name"], done["made"]["version"], done["made"]["metadata"]) == (
        name,
        1,
        {"of": "us"},
    )
    assert (done["updated"]["version"], done["found"]) == (2, done["updated"])
    assert name in done["names"]
    assert done["destroyed"] == [True, False]
    assert done["refused"] is True
    assert "plain value" not in str(done)
