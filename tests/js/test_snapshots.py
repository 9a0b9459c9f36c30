"""The official JavaScript SDK makes snapshots and forks."""

import uuid

import pytest

from tests.js.node import Node

pytestmark = [pytest.mark.sdk, pytest.mark.root]


def test_snapshots_and_forks(node: Node) -> None:
    name = f"js-{uuid.uuid4().hex[:8]}"
    assert node.run("snapshots.mjs", name) == {
        "begun": "kept",
        "forks": ["later", "later"],
        "names": [[], [f"{name}:default"]],
        "listed": [f"{name}:default", "unnamed"],
        "deleted": [True, False, True],
    }
