"""The JavaScript SDK's files and watches: every method, every option, every error."""

from typing import Any

import pytest

from tests.js.node import Node

pytestmark = [pytest.mark.sdk, pytest.mark.root]

HOME = "/home/user/"
FAILURES = {
    "read": "FileNotFoundError: path '/home/user/missing' does not exist",
    "readStream": "FileNotFoundError: path '/home/user/missing' does not exist",
    "readDirectory": "InvalidArgumentError: path '/etc' is a directory",
    "getInfo": "FileNotFoundError: [not_found] path '/home/user/missing' does not exist",
    "list": "FileNotFoundError: [not_found]",
    "rename": "FileNotFoundError: [not_found]",
    "watch": "FileNotFoundError: [not_found]",
    "listFile": "InvalidArgumentError: [invalid_argument] path '/home/user/file' is not a directory",
    "makeFile": "InvalidArgumentError: [invalid_argument]",
    "watchFile": "InvalidArgumentError: [invalid_argument]",
    "depth": "InvalidArgumentError: depth should be at least one",
    "home": "InvalidArgumentError: [invalid_argument]",
    "nul": "InvalidArgumentError: path holds a NUL byte",
    "readUser": "AuthenticationError: error looking up user 'nobody-here'",
    "listUser": "AuthenticationError: [unauthenticated] invalid username: 'nobody-here'",
    "metadata": "InvalidArgumentError: ",
    "name": "InvalidArgumentError: path is too long",
    "time": "TimeoutError: ",
}
EVENTS = (
    ("new", "create"),
    ("new", "write"),
    ("new", "chmod"),
    ("new", "rename"),
    ("named", "create"),
    ("named", "remove"),
    ("sub", "create"),
    ("sub/deep", "create"),
    ("sub/deep/file", "create"),
    ("end", "create"),
)


def test_files_and_watches(node: Node) -> None:
    found = node.run("files.mjs")
    check_content(found)
    check_directories(found)
    check_watches(found)
    for what, expected in FAILURES.items():
        assert found["failures"].pop(what).startswith(expected), what
    assert not found["failures"]


def check_content(found: dict[str, Any]) -> None:
    assert found["transfers"] == {how: [True] * 10 for how in ("plain", "octets", "form", "gzip")}
    assert found["empty"] == ["", 0, 0, 0]
    assert found["large"] == [str(64 << 20), "255"]
    assert found["afterCancel"]
    assert found["many"] == [[f"{HOME}many/{name}", {"job": "7"}] for name in ("a", "b", "c d")]
    assert found["roots"] == ["/root/r1", "/root/r2"]
    assert found["none"] == []
    assert found["metadata"] == [{"job": "7"}, {"job": "7"}, None, None]


def check_directories(found: dict[str, Any]) -> None:
    assert found["made"] == [True, False, True]
    assert found["listed"] == [
        ["a", "dir", None],
        ["b", "dir", None],
        ["c", "file", None],
        ["link", "dir", f"{HOME}t/a"],
    ]
    assert found["deep"] == [f"{HOME}t/{name}" for name in ("a", "a/2", "a/x", "b", "c", "link")]
    assert found["info"] == {
        "name": "c",
        "type": "file",
        "path": f"{HOME}t/c",
        "size": 0,
        "mode": 0o751,
        "permissions": "-rwsr-x--x",
        "owner": "user",
        "group": "user",
        "modifiedTime": True,
    }
    assert (found["renamed"], found["left"]) == (f"{HOME}u/v", False)
    assert found["names"] == [True] * 7
    assert found["namesListed"]
    assert found["notText"] == ["a\N{REPLACEMENT CHARACTER}b"]


def check_watches(found: dict[str, Any]) -> None:
    seen = [tuple(event) for event in found["events"]]
    places = [seen.index(event) for event in EVENTS]
    assert places == sorted(places)
    assert set(found["entries"]) == {f"{HOME}watched/end"}
    assert found["withoutEntry"]
    assert found["plain"] == 0
    # Its own stop() is an error to this SDK, whatever the server does.
    assert found["watchEnded"] == "TimeoutError"
    assert found["watchTime"] == "TimeoutError"
