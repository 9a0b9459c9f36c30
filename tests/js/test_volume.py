"""The official JavaScript SDK and volumes."""

import uuid

import pytest

from tests.js.node import Node

pytestmark = [pytest.mark.sdk, pytest.mark.root]


def test_every_call_of_a_volume(node: Node) -> None:
    name = f"js-{uuid.uuid4().hex[:12]}"
    shown = node.run("volume.mjs", name)
    assert f"there is a volume '{name}' already" in shown.pop("twice")
    assert "/a/text exists" in shown.pop("there")
    assert shown == {
        "same": True,
        "listed": True,
        "directory": ["b", "/a/b", "directory", 1, 2, 0o750],
        "noParents": "VolumePathNotFoundError",
        "written": [6, 3, 4, 0o600, True],
        "text": "h\u00e9llo",
        "bytes": "h\u00e9llo",
        "blob": "h\u00e9llo",
        "stream": "h\u00e9llo",
        "others": ["buffer", "blob"],
        "streamed": 3_000_000,
        "changed": [5, 6, 0o644],
        "list": ["/a"],
        "deep": ["/a", "/a/b", "/a/blob", "/a/buffer", "/a/stream", "/a/text"],
        "exists": [True, False],
        "missing": True,
        "stranger": True,
        "left": [],
        "shared": ["shared", "shared"],
        "mounts": [{"name": name, "path": "/data"}],
        "mounted": True,
        "destroyed": [True, False],
        "gone": True,
    }
