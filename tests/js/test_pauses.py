"""The official JavaScript SDK pauses, resumes and wakes sandboxes."""

import pytest

from tests.js.node import Node

pytestmark = [pytest.mark.sdk, pytest.mark.root]


def test_pause_and_resume(node: Node) -> None:
    assert node.run("pauses.mjs") == {
        "paused": [True, False],
        "running": False,
        "state": "paused",
        "same": True,
        "rebooted": True,
        "lifecycle": {"onTimeout": "pause", "autoResume": True},
        "woken": "awake",
    }
