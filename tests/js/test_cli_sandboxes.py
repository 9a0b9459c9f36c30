"""The official command line's sandbox commands, all of them but those that other files have."""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from tests.js.node import E2B, NODE, Node
from tests.screen import Screen, shell

pytestmark = [pytest.mark.sdk, pytest.mark.root]


@pytest.fixture
def sandbox(node: Node) -> Iterator[str]:
    """The id of a sandbox that the command line has made."""
    shown = node.e2b("sandbox", "create", "base", "--detach", "--timeout", "120").stdout
    sandbox_id = next(word for word in shown.split() if word.startswith("i") and len(word) == 20)
    yield sandbox_id
    node.e2b("sandbox", "kill", sandbox_id, check=False)


def listed(node: Node, *options: str) -> list[str]:
    found = json.loads(node.e2b("sandbox", "list", "--format", "json", *options).stdout)
    return [each["sandboxId"] for each in found]


def state(node: Node, sandbox: str) -> str:
    return str(json.loads(node.e2b("sandbox", "info", sandbox, "--format", "json").stdout)["state"])


def test_info_and_list(node: Node, sandbox: str) -> None:
    assert state(node, sandbox) == "running"
    assert sandbox in node.e2b("sandbox", "info", sandbox).stdout
    assert sandbox in listed(node, "--template", "base", "--order", "asc")
    assert sandbox not in listed(node, "--state", "paused")
    assert sandbox not in listed(node, "--metadata", "no=one")
    assert sandbox in node.e2b("sandbox", "list").stdout


def test_pause_and_resume(node: Node, sandbox: str) -> None:
    node.e2b("sandbox", "exec", sandbox, "echo kept > file")
    node.e2b("sandbox", "pause", sandbox)
    assert state(node, sandbox) == "paused"
    assert sandbox in listed(node, "--state", "paused,running")
    node.e2b("sandbox", "resume", sandbox)
    assert state(node, sandbox) == "running"
    assert node.e2b("sandbox", "exec", sandbox, "cat file").stdout == "kept\n"


def test_snapshots(node: Node, sandbox: str) -> None:
    node.e2b("sandbox", "exec", sandbox, "echo kept > file")
    name = f"cli-{sandbox}"
    node.e2b("sandbox", "snapshot", "create", sandbox, "--name", name)
    shown = node.e2b("sandbox", "snapshot", "list", sandbox, "--format", "json").stdout
    assert [each["snapshotId"] for each in json.loads(shown)] == [f"{name}:default"]
    begun = node.e2b("sandbox", "create", name, "--detach").stdout
    other = next(word for word in begun.split() if word.startswith("i") and len(word) == 20)
    assert node.e2b("sandbox", "exec", other, "cat file").stdout == "kept\n"
    node.e2b("sandbox", "kill", other)
    node.e2b("sandbox", "snapshot", "delete", f"{name}:default")
    assert json.loads(node.e2b("sandbox", "snapshot", "list", sandbox, "--format", "json").stdout) == []


def test_exec_passes_streams_user_and_exit_code(node: Node, sandbox: str) -> None:
    done = node.e2b(
        "sandbox", "exec", "-u", "root", "-c", "/etc", sandbox, "id -un; pwd; echo e >&2; exit 3", check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "root\n/etc\n", "e\nexit status 3\n")


def test_a_terminal(node: Node, sandbox: str) -> None:
    with terminal(node, "sandbox", "connect", sandbox) as screen:
        screen.until(b"$ ")
        screen.type(b"echo in-$((40 + 2))\r")
        screen.until(b"in-42\r")
        screen.type(b"exit\r")
        screen.process.wait()
    assert sandbox in listed(node)


def test_a_lifecycle(node: Node) -> None:
    options = ("--lifecycle.ontimeout", "pause", "--lifecycle.autoresume")
    shown = node.e2b("sandbox", "create", "base", "--detach", *options).stdout
    made = next(word for word in shown.split() if word.startswith("i") and len(word) == 20)
    try:
        info = json.loads(node.e2b("sandbox", "info", made, "--format", "json").stdout)
        assert info["lifecycle"] == {"onTimeout": "pause", "autoResume": True}
    finally:
        node.e2b("sandbox", "kill", made)


@pytest.mark.parametrize("command", ["info", "pause", "resume", "kill", "logs"])
def test_what_is_not_there(node: Node, command: str) -> None:
    done = node.e2b("sandbox", command, "i" + "a" * 19, check=False)
    words = (done.stdout + done.stderr).lower()
    assert "not found" in words or "wasn't found" in words


def terminal(node: Node, *arguments: str) -> AbstractContextManager[Screen]:
    return shell([str(NODE), str(node.directory / E2B), *arguments], {**node.env, "TERM": "xterm"})
