import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from e2b import PtySize

from tests.agent.conftest import TOKEN, Agent
from tests.agent.processes import private_memory
from tests.agent.wire import call

pytestmark = pytest.mark.root


@pytest.fixture
def forked(tmp_path: Path) -> Iterator[tuple[Agent, subprocess.Popen[bytes]]]:
    """An agent whose import system was taken away after the fork."""
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        parent = subprocess.Popen(
            [sys.executable, "-m", "tests.agent.forked"], stdout=subprocess.PIPE, stderr=stderr
        )
    assert parent.stdout
    port, pid = (int(word) for word in parent.stdout.readline().split())
    url = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=url, headers={"X-Access-Token": TOKEN}) as client:
        yield Agent(pid, url, client, log), parent
    os.kill(pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()


def test_nothing_is_imported_once_forked(
    forked: tuple[Agent, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    agent, parent = forked
    work_through(agent, tmp_path)
    os.kill(agent.pid, signal.SIGUSR1)
    assert parent.stdout
    assert parent.stdout.readline() == b"\n"
    assert b'"error"' not in agent.log.read_bytes()


def work_through(agent: Agent, tmp_path: Path) -> None:
    """At least one of everything an agent does."""
    sandbox = agent.sandbox()
    watch = sandbox.files.watch_dir(str(tmp_path), recursive=True, include_entry=True)
    for octets, zipped in (False, False), (True, False), (True, True):
        sandbox.files.write(
            str(tmp_path / "d" / "é"),
            "x",
            metadata={"k": "v"},
            use_octet_stream=octets,
            gzip=zipped,
            user="nobody",
        )
        assert sandbox.files.read(str(tmp_path / "d" / "é"), gzip=zipped) == "x"
    assert watch.get_new_events()
    watch.stop()
    sandbox.files.list(str(tmp_path), 3)
    sandbox.files.rename(str(tmp_path / "d"), str(tmp_path / "e"))
    sandbox.files.remove(str(tmp_path / "e"))
    assert not sandbox.files.exists("/no/such")
    assert sandbox.commands.run("echo é; false || true", user="nobody").stdout == "é\n"
    handle = sandbox.commands.run("sleep 1000", background=True)
    assert sandbox.commands.kill(handle.pid)
    terminal = sandbox.pty.create(PtySize(24, 80))
    sandbox.pty.send_stdin(terminal.pid, b"exit\n")
    terminal.wait()
    odd(agent.client)


def odd(client: httpx.Client) -> None:
    """Requests that take the less usual ways."""
    for path in "/metrics", "/envs", "/none", "/files?path=/tmp", "/files?path=/proc/meminfo":
        client.get(path)
    conditions = {"range": "bytes=0-1", "if-modified-since": "Thu, 01 Jan 1970 00:00:00 GMT"}
    client.get("/files", params={"path": "/etc/passwd"}, headers=conditions)
    client.post("/init", json={"envVars": {"é": "ü"}, "timestamp": "2026-01-01T00:00:00Z"})
    client.post("/init", content=b"\xff", headers={b"x-odd": "é".encode()})
    client.post("/files", content=b"x", headers={"content-type": "multipart/form-data; boundary=b"})
    client.get("/files", params={"path": "/x", "signature": "v1_"}, headers={"x-access-token": ""})
    call(client, "process.Process/Start", {}, authorization="Basic !")
    call(client, "process.Process/Nothing", {})
    call(client, "process.Process/SendSignal", {"signal": "x"})


def test_an_idle_agent_is_small(forked: tuple[Agent, subprocess.Popen[bytes]]) -> None:
    agent, _ = forked
    assert agent.client.get("/health").status_code == 204
    assert private_memory(agent.pid) < 5 << 20
