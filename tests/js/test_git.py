"""The JavaScript SDK's git module: every method, on repositories and a server inside the sandbox."""

import pytest

from tests.js.node import Node
from tests.sdk.test_git import SERVER, URL

pytestmark = [pytest.mark.sdk, pytest.mark.root]

FAILURES = {
    "clone": "GitAuthError: ",
    "wrong": "GitAuthError: ",
    "push": "GitAuthError: ",
    "pull": "GitAuthError: ",
    "user": "InvalidArgumentError: ",
    "reset": "InvalidArgumentError: ",
    "restore": "InvalidArgumentError: ",
    "config": "InvalidArgumentError: ",
    "checkout": "CommandExitError: ",
}


def test_git(node: Node) -> None:
    found = node.run("git.mjs", str(SERVER))
    assert found["log"] == 'Some One <someone@example.com> it\'s "quoted" $HOME'
    assert found["clean"]
    assert found["status"] == ["main", 1, 1, False]
    assert sorted(found["states"]) == [
        ["added", "added", True],
        ["file", "modified", False],
        ["other", "untracked", False],
    ]
    assert (found["restored"], found["afterReset"]) == ("one\n", "1")
    assert found["branches"] == {"branches": ["main", "topic/one"], "currentBranch": "topic/one"}
    assert found["unmerged"]["delete"].startswith("CommandExitError: ")
    assert found["config"] == ["Glo Bal", "Lo Cal", "12", None]
    assert (found["noRemote"], found["remote"]) == (None, URL)
    assert all(failure.startswith("GitUpstreamError: ") for failure in found["upstream"].values())
    for what, expected in FAILURES.items():
        assert found["auth"].pop(what).startswith(expected), what
    assert not found["auth"]
    assert (found["ahead"], found["pulled"], found["cloned"]) == (1, "There", "one\n")
    assert found["kept"] == "work/.git/config:0\ncopy/.git/config:0\n"
