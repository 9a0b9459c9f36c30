"""The JavaScript SDK's commands and terminals: every method, every option, every error."""

from typing import Any

import pytest

from tests.js.node import Node

pytestmark = [pytest.mark.sdk, pytest.mark.root]

U = "\N{LATIN SMALL LETTER U WITH DIAERESIS}"
FAILED = {"exitCode": 7, "stdout": "out\n", "stderr": "bad\n", "error": "exit status 7"}
WAITED = {"exitCode": 4, "stdout": f"got x\na{U}", "stderr": "", "error": "exit status 4"}
COMMAND = ["-l", "-c", "read line; echo got $line; cat; exit 4"]


def ended(result: dict[str, Any]) -> dict[str, Any]:
    """A command's end, whose exception has a name and a message as well."""
    assert result["name"] == "CommandExitError"
    return {key: value for key, value in result.items() if key not in ("name", "message")}


def test_commands_and_terminals(node: Node) -> None:
    found = node.run("commands.mjs")
    output = {"stdout": "sandbox command\nroot\n/usr\n", "stderr": "bad\n"}
    assert found["foreground"] == {"exitCode": 0, **output}
    assert found["seen"] == {"out": output["stdout"], "err": output["stderr"]}
    assert ended(found["failed"]) == FAILED
    assert (found["killed"]["exitCode"], found["killed"]["error"]) == (-1, "signal: killed")
    assert found["bytes"] == "a\N{REPLACEMENT CHARACTER}\0b"
    assert found["large"] == sum(len(f"{number}\n") for number in range(1, 1_000_001))
    assert found["listed"] == {"pid": True, "cmd": "/bin/bash", "args": COMMAND, "envs": {}}
    assert found["running"] is None
    assert found["supportsStdinClose"]
    assert ended(found["waited"]) == ended(found["waitedToo"]) == found["handle"] == WAITED
    assert found["late"] == WAITED["stdout"]
    assert found["kills"] == [True, False, False]
    assert found["afterKill"] == 0
    assert found["signal"] == "signal: killed"
    assert found["echoed"] == 1 << 20
    assert (found["terminal"], found["resized"], found["terminalKills"]) == (3, True, [True, False])
    for what, expected in FAILURES.items():
        assert found["failures"].pop(what).startswith(expected), what
    assert not found["failures"]


FAILURES = {
    "time": "TimeoutError: [deadline_exceeded]",
    "requestTime": "TimeoutError: ",
    "aborted": "TimeoutError: [canceled]",
    "user": "AuthenticationError: [unauthenticated] invalid username: 'nobody-here'",
    "cwd": "InvalidArgumentError: [invalid_argument] cwd '/missing' does not exist",
    "nul": "InvalidArgumentError: ",
    "stdin": "SandboxError: 9: [failed_precondition] process ",
    "connect": "NotFoundError: [not_found] process with pid 999999 not found",
    "sendStdin": "NotFoundError: [not_found] process with pid 999999 not found",
    "closeStdin": "NotFoundError: [not_found] process with pid 999999 not found",
    "sendInput": "NotFoundError: [not_found] process with pid 999999 not found",
    "resize": "NotFoundError: [not_found] process with pid 999999 not found",
    "size": "InvalidArgumentError: [invalid_argument] a terminal of 70000 columns and 24 rows",
    "terminalUser": "AuthenticationError: [unauthenticated] invalid username: 'nobody-here'",
    "terminalTime": "TimeoutError: [deadline_exceeded]",
}
