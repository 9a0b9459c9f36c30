"""A sandbox that does its worst: only it suffers, the API answers on, and it can still be killed."""

import time
from collections.abc import Callable
from contextlib import suppress

import httpx
import pytest
from e2b import (
    CommandExitException,
    NotEnoughSpaceException,
    RateLimitException,
    Sandbox,
    SandboxException,
)

from tests.instance import Instance

BOMB = """\
import os
while True:
    try:
        os.fork()
    except OSError:
        os._exit(9)
"""


@pytest.fixture
def bystander(create: Callable[..., Sandbox]) -> Sandbox:
    return create()


def still_well(bystander: Sandbox, victim: Sandbox) -> None:
    assert bystander.commands.run("echo well").stdout == "well\n"
    assert Sandbox.connect(bystander.sandbox_id).is_running()
    assert victim.kill()
    assert bystander.commands.run("echo still").stdout == "still\n"


def test_forking_without_end(sandbox: Sandbox, bystander: Sandbox) -> None:
    sandbox.commands.run("bomb() { bomb | bomb & }; bomb", background=True)
    with suppress(RateLimitException):  # the bomb may hold every process that the sandbox may have
        sandbox.commands.run("true", background=True)
    still_well(bystander, sandbox)


def test_the_agent_runs_before_what_it_starts(sandbox: Sandbox) -> None:
    """Among hundreds of equals it would not hear of the end of a command for minutes; see proc(5): nice."""
    priorities = "cut -d ' ' -f 19 /proc/1/stat /proc/self/stat"
    assert sandbox.commands.run(priorities, user="root").stdout.split() == ["-20", "0"]
    with pytest.raises(CommandExitException, match="Permission denied"):
        sandbox.commands.run("""python3 -c 'import os; os.setpriority(0, 0, -1)'""", user="root")


def test_a_command_that_leaves_a_bomb_behind_ends(sandbox: Sandbox, bystander: Sandbox) -> None:
    sandbox.files.write("bomb.py", BOMB)
    assert sandbox.commands.run("python3 bomb.py & exec sleep 2", timeout=100).exit_code == 0
    still_well(bystander, sandbox)


def test_eating_memory_ends_the_eater_and_not_the_agent(sandbox: Sandbox, bystander: Sandbox) -> None:
    with pytest.raises(CommandExitException):
        sandbox.commands.run("python3 -c 'x = [bytearray(1 << 24) for _ in range(1000)]'", timeout=60)
    assert sandbox.commands.run("echo alive").stdout == "alive\n"
    still_well(bystander, sandbox)


def test_filling_the_disk(sandbox: Sandbox, bystander: Sandbox) -> None:
    with pytest.raises(CommandExitException) as failure:
        sandbox.commands.run("fallocate -l 9G most; head -c 2G /dev/zero > big", timeout=100)
    assert "quota" in failure.value.stderr.lower() or "space" in failure.value.stderr.lower()
    with pytest.raises(NotEnoughSpaceException):
        sandbox.files.write("/home/user/more", b"x" * (8 << 20))
    bystander.files.write("/home/user/fine", "x")
    still_well(bystander, sandbox)


def test_a_gigabyte_of_output_to_a_slow_reader_costs_no_memory(
    sandbox: Sandbox, bystander: Sandbox, berm: Instance
) -> None:
    seen = 0
    started = resident(berm.server_pid())
    flood = sandbox.commands.run("head -c 1G /dev/zero | tr '\\0' 'x'", background=True, timeout=0)
    for stdout, _, _ in flood:
        seen += len(stdout or "")
        if seen > 4 << 20:
            break
    assert bystander.commands.run("echo well").stdout == "well\n"
    assert resident(berm.server_pid()) - started < 64 << 20
    agent = sandbox.commands.run("grep VmRSS /proc/1/status", user="root").stdout.split()[1]
    assert int(agent) < 160 << 10
    still_well(bystander, sandbox)


NOISE = """
import socket
server = socket.create_server(("0.0.0.0", 8000))
answer = b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nokHTTP/1.1 500 evil\\r\\n\\r\\n"
while True:
    connection, _ = server.accept()
    connection.recv(65536)
    connection.sendall(answer)
"""


def resident(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.parametrize(
    "command",
    [
        'for fd in /proc/self/fd/*; do eval "exec ${fd##*/}>&-" 2>/dev/null; done; kill -9 -1',
        "kill -TERM -1; kill -KILL -1",
        "kill -STOP 1; kill -INT 1; kill -HUP 1; kill -SEGV 1",
        "rm -rf /bin /usr/bin /lib /usr/lib 2>/dev/null",
        "rm -rf / --no-preserve-root 2>/dev/null",
        "mv /bin /bin.old; mkdir /bin; ln -s /proc/1/mem /bin/bash",
        "ip addr flush dev eth0; exit 1",
        "exec 3<>/dev/ptmx; while :; do exec {fd}<>/dev/ptmx || break; done",
    ],
)
def test_breaking_itself(sandbox: Sandbox, bystander: Sandbox, command: str) -> None:
    with suppress(SandboxException):  # its own trouble
        sandbox.commands.run(command, user="root", timeout=20)
    sandbox.files.write("/still-answers", "yes", user="root")
    assert sandbox.files.read("/still-answers", user="root") == "yes"
    still_well(bystander, sandbox)


def test_what_follows_an_answer_reaches_nobody_else(
    sandbox: Sandbox, bystander: Sandbox, berm: Instance
) -> None:
    """A client's connection serves all its requests, so a sandbox must not be able to answer the next."""
    sandbox.files.write("/tmp/noise.py", NOISE)
    sandbox.commands.run("python3 /tmp/noise.py", background=True)
    sandbox.commands.run("while ! ss -ltn | grep -q :8000; do :; done", timeout=10)
    headers = {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": "8000"}
    with httpx.Client(base_url=berm.url) as client:
        for _ in range(5):
            assert client.get("/", headers=headers).text == "ok"
            assert client.get("/health").status_code == 204
    still_well(bystander, sandbox)


def test_time_passes_in_a_sandbox_at_its_limit_of_processes(sandbox: Sandbox, bystander: Sandbox) -> None:
    sandbox.commands.run("for i in $(seq 6000); do sleep 1000 & done 2>/dev/null; true", background=True)
    start = time.monotonic()
    assert bystander.commands.run("echo well").stdout == "well\n"
    assert time.monotonic() > start
    still_well(bystander, sandbox)
