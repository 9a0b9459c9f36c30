"""What the official JavaScript SDK and command line tell of a sandbox: what it uses, and its log."""

import json
import subprocess
from collections.abc import Callable, Iterator

import pytest
from e2b import Sandbox

from tests.instance import Instance
from tests.js.node import E2B, NODE, Node

pytestmark = [pytest.mark.sdk, pytest.mark.root]

MIB = 1 << 20
HOSTILE = b'\x1b]0;title\x07 \x80\n{"level": 7}\n[[[[\n'


@pytest.fixture
def sandbox(berm: Instance, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    for name, value in berm.env.items():
        if name.startswith("E2B_"):
            monkeypatch.setenv(name, value)
    made = Sandbox.create(timeout=300)
    yield made
    made.kill()


@pytest.fixture
def follow(node: Node) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start the command line and leave it running, with its output to read."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> "subprocess.Popen[str]":
        command = [str(NODE), E2B, *arguments]
        started.append(
            subprocess.Popen(command, cwd=node.directory, env=node.env, text=True, stdout=subprocess.PIPE)
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_metrics_of_the_sdk(node: Node) -> None:
    done = node.run("metrics.mjs")
    first, second = done["first"], done["second"]
    assert first["cpuCount"] == 2
    assert 0 <= first["cpuUsedPct"] <= 100
    assert 0 < first["memUsed"] < first["memTotal"] == 1024 * MIB
    assert 0 <= first["memCache"] < first["memTotal"]
    assert 0 <= first["diskUsed"] < first["diskTotal"] == 10240 * MIB
    assert done["earlier"][0] == first
    assert second in done["later"]
    assert first not in done["later"]


def test_metrics_of_the_command_line(
    node: Node, sandbox: Sandbox, follow: Callable[..., "subprocess.Popen[str]"]
) -> None:
    process = follow("sandbox", "metrics", sandbox.sandbox_id, "--follow", "--format", "json")
    assert process.stdout
    lines = (json.loads(line) for line in process.stdout if line.startswith("{"))
    first, second = next(lines), next(lines)
    assert first["timestamp"] < second["timestamp"]
    assert first["memTotal"] == 1024 * MIB
    shown = node.e2b("sandbox", "metrics", sandbox.sandbox_id).stdout
    assert "/  2 Cores" in shown
    assert "/ 1024  MiB" in shown
    assert "/ 10240 MiB" in shown


def test_logs_of_the_command_line(node: Node, sandbox: Sandbox, berm: Instance) -> None:
    sandbox.commands.run("echo said; echo bad >&2; exit 0", envs={"SECRET": "environment"})
    with (berm.pool / "sandboxes" / sandbox.sandbox_id / "log").open("ab") as file:
        file.write(HOSTILE)
    shown = node.e2b("sandbox", "logs", sandbox.sandbox_id, "--format", "json").stdout
    lines = [json.loads(line) for line in shown.splitlines() if line.startswith("{")]
    told = {(line["logger"], line["message"]) for line in lines}
    assert {
        ("process", "process started"),
        ("process.stdout", "said"),
        ("process.stderr", "bad"),
        ("process", "process ended"),
        ("", "[[[["),
    } <= told
    assert "environment" not in shown
    pretty = node.e2b("sandbox", "logs", sandbox.sandbox_id, "--loggers", "process.stderr").stdout
    assert "message" in pretty
    assert "bad" in pretty
    assert "said" not in pretty
    assert "\x1b]0;" not in node.e2b("sandbox", "logs", sandbox.sandbox_id).stdout


def test_logs_are_followed_until_the_sandbox_ends(
    sandbox: Sandbox, follow: Callable[..., "subprocess.Popen[str]"]
) -> None:
    process = follow("sandbox", "logs", sandbox.sandbox_id, "--follow")
    assert process.stdout
    for word in ("first", "second"):
        sandbox.commands.run(f"echo {word}")
        assert any("process.stdout" in line and word in line for line in process.stdout)
    sandbox.kill()
    rest = process.stdout.read()
    assert "second" not in rest
    assert "sandbox is closed" in rest
    assert process.wait() == 0
