"""What the JavaScript SDK makes of a full disk and of a sandbox that is killed."""

from pathlib import Path

import pytest

from tests.instance import Instance
from tests.js.node import Node
from tests.sdk.products import small_disk

pytestmark = [pytest.mark.sdk, pytest.mark.root]


def test_failures(node: Node, berm: Instance, tmp_path: Path) -> None:
    with small_disk(berm, tmp_path) as template:
        found = node.run("failures.mjs", template)
    assert found["full"].keys() == {"form", "octets", "gzip", "several", "large", "stream"}
    for what, failure in found["full"].items():
        assert failure.startswith("NotEnoughSpaceError: not enough disk space"), f"{what}: {failure}"
    assert found["room"] == "/home/user/new"
    # Told by Node itself: the SDK asks no further once bytes have come, or before an answer has begun.
    assert found["killed"].pop("stream") == "TypeError: terminated"
    assert found["killed"].pop("write") == "TypeError: fetch failed"
    for what, failure in (found["killed"] | found["gone"]).items():
        assert failure.startswith(("TimeoutError: ", "SandboxNotFoundError: ")), f"{what}: {failure}"
        assert "sandbox" in failure.lower(), f"{what}: {failure}"
    assert found["running"] is False
