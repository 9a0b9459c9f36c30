import asyncio
import base64
import os
import signal
from pathlib import Path

import httpx
import pytest
from e2b import (
    AuthenticationException,
    CommandExitException,
    CommandHandle,
    InvalidArgumentException,
    NotFoundException,
    PtySize,
    Sandbox,
    SandboxException,
    TimeoutException,
)

from tests.agent.conftest import Agent
from tests.agent.processes import gone, open_files, private_memory, wait_until_blocked
from tests.agent.wire import STREAM, call, end, error, frame, frames, output, start, stream

pytestmark = pytest.mark.root

TORRENT = "read line; head -c 50000000 /dev/zero | tr '\\0' x"


def test_output_and_exit_code(sandbox: Sandbox) -> None:
    result = sandbox.commands.run("echo out; echo err >&2")
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 0)


def test_failure_has_the_code_and_stderr(sandbox: Sandbox) -> None:
    with pytest.raises(CommandExitException) as failed:
        sandbox.commands.run("echo why >&2; exit 3")
    assert (failed.value.exit_code, failed.value.stderr, failed.value.error) == (3, "why\n", "exit status 3")


def test_unknown_command_in_the_shell_is_127(sandbox: Sandbox) -> None:
    with pytest.raises(CommandExitException) as failed:
        sandbox.commands.run("no-such-command-at-all")
    assert failed.value.exit_code == 127


async def test_async_sdk(agent: Agent) -> None:
    sandbox = agent.async_sandbox()
    assert (await sandbox.commands.run("echo hello")).stdout == "hello\n"
    handle = await sandbox.commands.run("cat", background=True, stdin=True)
    await sandbox.commands.send_stdin(handle.pid, "text")
    await sandbox.commands.close_stdin(handle.pid)
    assert (await handle.wait()).stdout == "text"


def test_frames_begin_with_start_and_end_with_end(client: httpx.Client) -> None:
    received = start(client, "/bin/sh", "-c", "printf x; exit 2")
    assert received[0][1]["event"]["start"]["pid"] > 0
    assert received[-2][1]["event"]["end"] == {
        "exitCode": 2,
        "exited": True,
        "status": "exit status 2",
        "error": "exit status 2",
    }
    assert received[-1] == (2, {})
    assert output(received) == b"x"


def test_success_has_no_error(client: httpx.Client) -> None:
    assert end(start(client, "/bin/true")) == {"exited": True, "status": "exit status 0"}


@pytest.mark.parametrize(
    ("number", "text"),
    [(9, "killed"), (15, "terminated"), (2, "interrupt"), (1, "hangup"), (13, "broken pipe")],
)
def test_end_by_signal(client: httpx.Client, number: int, text: str) -> None:
    ended = end(start(client, "/bin/sh", "-c", f"kill -{number} $$"))
    assert ended == {"exitCode": -1, "status": f"signal: {text}", "error": f"signal: {text}"}


def test_all_output_comes_before_the_end(client: httpx.Client) -> None:
    received = start(client, "/bin/sh", "-c", "head -c 3000000 /dev/zero; printf last >&2")
    assert len(output(received)) == 3_000_000
    assert output(received, "stderr") == b"last"
    assert "end" in received[-2][1]["event"]


def test_environment_order(client: httpx.Client) -> None:
    received = start(client, "/usr/bin/env", process={"envs": {"LOGNAME": "asked", "MORE": "é"}})
    lines = output(received).decode().splitlines()
    assert "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" in lines
    assert "USER=root" in lines
    assert "LOGNAME=asked" in lines
    assert "MORE=é" in lines
    assert "HOME=/root" not in lines  # the sandbox's own HOME wins over the user's


def test_user_is_whom_the_caller_chose(sandbox: Sandbox) -> None:
    result = sandbox.commands.run("id -un; grep -h ^Cap /proc/self/status | sort -u", user="nobody")
    assert result.stdout.splitlines()[0] == "nobody"
    assert "CapEff:\t0000000000000000" in result.stdout
    assert "CapPrm:\t0000000000000000" in result.stdout


def test_default_user_and_group_come_back_for_the_next(sandbox: Sandbox) -> None:
    sandbox.commands.run("true", user="nobody")
    assert sandbox.commands.run("id -u; id -g").stdout == "0\n0\n"


def test_unknown_user(sandbox: Sandbox) -> None:
    with pytest.raises(AuthenticationException, match="invalid username: 'stranger'"):
        sandbox.commands.run("true", user="stranger")


@pytest.mark.parametrize("header", ["Basic", "Basic !!", "Bearer cm9vdDo=", "Basic " + "/w=="])
def test_malformed_user(client: httpx.Client, header: str) -> None:
    received = stream(
        client, "process.Process/Start", {"process": {"cmd": "/bin/true"}}, authorization=header
    )
    assert error(received)["code"] == "unauthenticated"


def test_working_directory(sandbox: Sandbox, tmp_path: Path) -> None:
    assert sandbox.commands.run("pwd", cwd=str(tmp_path)).stdout == f"{tmp_path}\n"


def test_missing_working_directory(sandbox: Sandbox) -> None:
    with pytest.raises(InvalidArgumentException, match="cwd '/no/such' does not exist"):
        sandbox.commands.run("true", cwd="/no/such")


def test_missing_home_is_no_obstacle(sandbox: Sandbox) -> None:
    assert sandbox.commands.run("pwd", user="nobody").stdout == "/\n"


@pytest.mark.parametrize(
    ("process", "code"),
    [
        ({"cmd": "/no/such/program"}, "invalid_argument"),
        ({"cmd": "no-such-program"}, "invalid_argument"),
        ({"cmd": "/etc/passwd"}, "permission_denied"),
        ({"cmd": "/etc"}, "permission_denied"),
        ({"cmd": ""}, "invalid_argument"),
        ({"cmd": "/bin/true", "args": ["a\0b"]}, "invalid_argument"),
        ({"cmd": "/bin/true", "envs": {"A=B": "c"}}, "invalid_argument"),
        ({"cmd": "/bin/true", "cwd": "/\0"}, "invalid_argument"),
        ({"cmd": "/bin/true", "args": ["x" * (3 << 20)]}, "invalid_argument"),
        ({"cmd": "/bin/true", "cwd": "~root"}, "invalid_argument"),
    ],
)
def test_what_cannot_be_started(agent: Agent, process: dict[str, object], code: str) -> None:
    before = open_files(agent.pid)
    received = stream(agent.client, "process.Process/Start", {"process": process})
    assert error(received)["code"] == code
    assert open_files(agent.pid) == before
    assert call(agent.client, "process.Process/List", {}).json() == {}


def test_no_descriptor_is_left_after_many(agent: Agent) -> None:
    start(agent.client, "/bin/true")
    before = open_files(agent.pid)
    for _ in range(20):
        start(agent.client, "/bin/true")
    assert open_files(agent.pid) == before


def test_commands_get_no_descriptor_of_the_agent(client: httpx.Client) -> None:
    listed = output(start(client, "/bin/sh", "-c", "ls /proc/$$/fd")).split()
    assert set(listed) <= {b"0", b"1", b"2", b"10"}  # dash keeps a copy of its own at 10


def test_commands_begin_with_default_signals(client: httpx.Client) -> None:
    status = output(start(client, "/bin/cat", "/proc/self/status")).decode()
    lines = [line.split()[1] for line in status.splitlines() if line.startswith(("SigIgn", "SigBlk"))]
    # Signals 32 and 33 belong to the C library (signal(7)): what a caller left of them cannot be undone.
    assert [int(mask, 16) & ~(0b11 << 31) for mask in lines] == [0, 0]


def test_stdin_false_is_end_of_file(client: httpx.Client) -> None:
    assert end(start(client, "/bin/cat"))["status"] == "exit status 0"


def test_stdin_is_open_unless_refused(sandbox: Sandbox, client: httpx.Client) -> None:
    with client.stream(
        "POST", "/process.Process/Start", content=frame({"process": {"cmd": "/bin/cat"}}), headers=STREAM
    ) as response:
        received = frames(response)
        pid = next(received)[1]["event"]["start"]["pid"]
        sandbox.commands.send_stdin(pid, "kept")
        assert base64.b64decode(next(received)[1]["event"]["data"]["stdout"]) == b"kept"
        sandbox.commands.close_stdin(pid)
        assert "end" in next(received)[1]["event"]


def test_input_to_who_has_none(sandbox: Sandbox, client: httpx.Client) -> None:
    handle = sandbox.commands.run("sleep 1000", background=True)
    answer = call(
        client,
        "process.Process/SendInput",
        {"process": {"pid": handle.pid}, "input": {"stdin": base64.b64encode(b"x").decode()}},
    )
    assert answer.json()["code"] == "failed_precondition"
    assert handle.kill()


def test_stream_input_keeps_the_order(client: httpx.Client, sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("cat", background=True, stdin=True)
    pieces = [f"{number}\n".encode() for number in range(500)]
    body = frame({"start": {"process": {"pid": handle.pid}}}) + frame({"keepalive": {}})
    for piece in pieces:
        body += frame({"data": {"input": {"stdin": base64.b64encode(piece).decode()}}})
    answer = client.post("/process.Process/StreamInput", content=body, headers=STREAM)
    assert answer.content == frame({}) + frame({}, flags=2)
    sandbox.commands.close_stdin(handle.pid)
    assert handle.wait().stdout.encode() == b"".join(pieces)


def test_stream_input_to_nobody(client: httpx.Client) -> None:
    body = frame({"start": {"process": {"pid": 1}}})
    answer = client.post("/process.Process/StreamInput", content=body, headers=STREAM)
    assert error(list(frames(answer)))["code"] == "not_found"


def test_stream_input_without_start(client: httpx.Client) -> None:
    body = frame({"data": {"input": {"stdin": "eA=="}}})
    answer = client.post("/process.Process/StreamInput", content=body, headers=STREAM)
    assert error(list(frames(answer)))["code"] == "invalid_argument"


def test_input_larger_than_a_pipe_waits_for_its_reader(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("sleep 0.2; wc -c", background=True, stdin=True)
    sandbox.commands.send_stdin(handle.pid, "x" * 1_000_000)
    sandbox.commands.close_stdin(handle.pid)
    assert handle.wait().stdout.strip() == "1000000"


def test_input_to_who_closed_it(sandbox: Sandbox, client: httpx.Client) -> None:
    handle = sandbox.commands.run("exec <&-; echo closed; sleep 1000", background=True, stdin=True)
    assert next(iter(handle))[0] == "closed\n"
    message = {"process": {"pid": handle.pid}, "input": {"stdin": "eA=="}}
    assert call(client, "process.Process/SendInput", message).json()["code"] == "failed_precondition"
    assert handle.kill()


def test_list_shows_what_runs(sandbox: Sandbox, client: httpx.Client) -> None:
    with client.stream(
        "POST",
        "/process.Process/Start",
        content=frame({"process": {"cmd": "/bin/sleep", "args": ["1000"], "cwd": "/"}, "tag": "mine"}),
        headers=STREAM,
    ) as response:
        pid = next(frames(response))[1]["event"]["start"]["pid"]
        (listed,) = call(client, "process.Process/List", {}).json()["processes"]
        assert listed == {
            "config": {"cmd": "/bin/sleep", "args": ["1000"], "cwd": "/"},
            "pid": pid,
            "tag": "mine",
        }
        message = {"process": {"tag": "mine"}, "signal": "SIGNAL_SIGTERM"}
        assert call(client, "process.Process/SendSignal", message).json() == {}
    assert gone(pid)


def test_pid_is_the_real_one(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("sleep 1000", background=True)
    os.kill(handle.pid, 0)
    assert handle.kill()
    with pytest.raises(CommandExitException, match="-1"):
        handle.wait()
    assert sandbox.commands.kill(handle.pid) is False


def test_kill_takes_what_the_command_started(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("sleep 1000 & echo $!; wait", background=True)
    child = int((next(iter(handle))[0] or "").strip())
    assert handle.kill()
    assert gone(child)


@pytest.mark.parametrize("method", ["SendSignal", "SendInput", "CloseStdin", "Update"])
def test_unknown_process(client: httpx.Client, method: str) -> None:
    for selector in {"pid": 999_999}, {"tag": "none"}:
        answer = call(client, f"process.Process/{method}", {"process": selector, "input": {"stdin": ""}})
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    answer = call(client, f"process.Process/{method}", {})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")


def test_signal_must_be_one_of_two(sandbox: Sandbox, client: httpx.Client) -> None:
    handle = sandbox.commands.run("sleep 1000", background=True)
    for number in 0, 2:
        message = {"process": {"pid": handle.pid}, "signal": number}
        assert call(client, "process.Process/SendSignal", message).json()["code"] == "invalid_argument"
    assert handle.kill()


def test_connect_gets_what_comes_from_now_on(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("echo early; read line; echo $line", background=True, stdin=True)
    assert next(iter(handle))[0] == "early\n"
    second = sandbox.commands.connect(handle.pid)
    sandbox.commands.send_stdin(handle.pid, "late\n")
    assert second.wait().stdout == "late\n"
    assert handle.wait().stdout == "early\nlate\n"


def test_connect_to_nobody(sandbox: Sandbox) -> None:
    with pytest.raises(NotFoundException):
        sandbox.commands.connect(999_999)


def test_leaving_does_not_kill(sandbox: Sandbox, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    handle = sandbox.commands.run(f"cat {fifo}; echo x; echo done > {fifo}", background=True)
    handle.disconnect()
    fifo.write_text("go on")
    assert fifo.read_text() == "done\n"


def test_timeout_kills_and_says_so(sandbox: Sandbox) -> None:
    with pytest.raises(TimeoutException):
        sandbox.commands.run("sleep 1000", timeout=0.3)


def test_deadline_ends_stream_and_process(client: httpx.Client) -> None:
    message = {"process": {"cmd": "/bin/sh", "args": ["-c", "sleep 1000 & wait"]}}
    received = stream(client, "process.Process/Start", message, connect_timeout_ms="200")
    assert error(received)["code"] == "deadline_exceeded"
    assert gone(received[0][1]["event"]["start"]["pid"])


def test_deadline_holds_for_who_has_left(client: httpx.Client) -> None:
    message = frame({"process": {"cmd": "/bin/sleep", "args": ["1000"]}})
    headers = STREAM | {"connect-timeout-ms": "300"}
    with client.stream("POST", "/process.Process/Start", content=message, headers=headers) as response:
        pid = next(frames(response))[1]["event"]["start"]["pid"]
    assert gone(pid)


def test_deadline_of_a_reader_kills_nothing(sandbox: Sandbox, client: httpx.Client) -> None:
    handle = sandbox.commands.run("sleep 1000", background=True)
    message = {"process": {"pid": handle.pid}}
    received = stream(client, "process.Process/Connect", message, connect_timeout_ms="100")
    assert error(received)["code"] == "deadline_exceeded"
    assert handle.kill()


def test_what_stays_in_the_background_does_not_hold_the_end(client: httpx.Client) -> None:
    received = start(client, "/bin/sh", "-c", "sleep 1000 & echo $!")
    assert end(received)["status"] == "exit status 0"
    os.kill(int(output(received)), signal.SIGKILL)


def test_what_stays_in_the_background_may_go_on_writing(client: httpx.Client, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    start(client, "/bin/sh", "-c", f"(cat {fifo}; head -c 1000000 /dev/zero; echo alive > {fifo}) & true")
    fifo.write_text("go on")
    assert fifo.read_text() == "alive\n"


def test_keepalive(client: httpx.Client) -> None:
    received = stream(
        client,
        "process.Process/Start",
        {"process": {"cmd": "/bin/sleep", "args": ["1.5"]}, "stdin": False},
        keepalive_ping_interval="1",
    )
    assert [message for _, message in received][1] == {"event": {"keepalive": {}}}


def test_a_slow_reader_holds_a_flood_back(agent: Agent) -> None:
    message = frame(
        {"process": {"cmd": "/usr/bin/head", "args": ["-c", "200000000", "/dev/zero"]}, "stdin": False}
    )
    before = private_memory(agent.pid)
    with agent.client.stream("POST", "/process.Process/Start", content=message, headers=STREAM) as response:
        received = frames(response)
        pid = next(received)[1]["event"]["start"]["pid"]
        wait_until_blocked(pid)
        assert private_memory(agent.pid) - before < 16 << 20
        total = sum(len(output([event])) for event in received)
    assert total == 200_000_000


def test_a_reader_too_far_behind_is_cut_off(sandbox: Sandbox, client: httpx.Client) -> None:
    handle = sandbox.commands.run(TORRENT, background=True, stdin=True)
    message = frame({"process": {"pid": handle.pid}})
    with client.stream("POST", "/process.Process/Connect", content=message, headers=STREAM) as response:
        received = frames(response)
        next(received)
        sandbox.commands.send_stdin(handle.pid, "go\n")
        assert len(handle.wait().stdout) == 50_000_000
        assert error(list(received))["code"] == "aborted"


def test_a_reader_too_far_behind_is_told_so(sandbox: Sandbox) -> None:
    """Not that there were too many requests, of which there were none."""
    handle = sandbox.commands.run(TORRENT, background=True, stdin=True)
    behind = sandbox.commands.connect(handle.pid)
    sandbox.commands.send_stdin(handle.pid, "go\n")
    assert len(handle.wait().stdout) == 50_000_000
    with pytest.raises(SandboxException, match="fell too far behind") as failure:
        behind.wait()
    assert type(failure.value) is SandboxException


async def test_an_asynchronous_reader_too_far_behind_is_told_so(agent: Agent) -> None:
    sandbox = agent.async_sandbox()
    handle = await sandbox.commands.run(TORRENT, background=True, stdin=True)
    go_on = asyncio.Event()

    async def wait(_output: str) -> None:
        await go_on.wait()

    behind = await sandbox.commands.connect(handle.pid, on_stdout=wait)
    await sandbox.commands.send_stdin(handle.pid, "go\n")
    assert len((await handle.wait()).stdout) == 50_000_000
    go_on.set()
    with pytest.raises(SandboxException, match="fell too far behind") as failure:
        await behind.wait()
    assert type(failure.value) is SandboxException


def shown(handle: CommandHandle) -> bytes:
    """Everything a terminal shows until its shell ends."""
    return b"".join(data for _, _, data in handle if data)


def test_pty(sandbox: Sandbox) -> None:
    handle = sandbox.pty.create(PtySize(rows=33, cols=101), cwd="/")
    sandbox.pty.send_stdin(handle.pid, b"stty size; tty; echo $TERM; pwd; exit 4\n")
    lines = shown(handle).decode().splitlines()
    assert "33 101" in lines
    assert "xterm-256color" in lines
    assert any(line.startswith("/dev/pts/") for line in lines)
    with pytest.raises(CommandExitException) as ended:
        handle.wait()
    assert ended.value.exit_code == 4


def test_pty_of_a_user(sandbox: Sandbox) -> None:
    handle = sandbox.pty.create(PtySize(rows=24, cols=80), user="nobody", cwd="/")
    sandbox.pty.send_stdin(handle.pid, b"stat -c %U $(tty); exit\n")
    assert b"nobody\r\n" in shown(handle)


def test_pty_resize(sandbox: Sandbox) -> None:
    handle = sandbox.pty.create(PtySize(rows=24, cols=80))
    sandbox.pty.resize(handle.pid, PtySize(rows=50, cols=132))
    sandbox.pty.send_stdin(handle.pid, b"stty size; exit\n")
    assert b"50 132" in shown(handle)


def test_pty_has_job_control(sandbox: Sandbox) -> None:
    handle = sandbox.pty.create(PtySize(rows=24, cols=80))
    sandbox.pty.send_stdin(handle.pid, b"echo be''gun; sleep 1000; echo re''turned\n")
    received = b""
    for _, _, data in handle:
        received += data or b""
        if b"^C" in received:
            break
        if b"begun" in received:
            sandbox.pty.send_stdin(handle.pid, b"\x03")
    sandbox.pty.send_stdin(handle.pid, b"exit 0\n")
    assert b"no job control" not in received


def test_pty_ends_with_its_shell(sandbox: Sandbox) -> None:
    handle = sandbox.pty.create(PtySize(rows=24, cols=80))
    sandbox.pty.send_stdin(handle.pid, b"trap '' HUP; (trap '' HUP; exec sleep 1000) & exit\n")
    assert b"exit" in shown(handle)


def test_pty_kill(sandbox: Sandbox) -> None:
    handle = sandbox.pty.create(PtySize(rows=24, cols=80))
    assert handle.pid in [process.pid for process in sandbox.commands.list()]
    assert sandbox.pty.kill(handle.pid)
    assert gone(handle.pid)


def test_pty_input_cannot_be_closed(sandbox: Sandbox, client: httpx.Client) -> None:
    handle = sandbox.pty.create(PtySize(rows=24, cols=80))
    message = {"process": {"pid": handle.pid}}
    assert call(client, "process.Process/CloseStdin", message).json()["code"] == "failed_precondition"
    message["input"] = {"stdin": "eA=="}
    assert call(client, "process.Process/SendInput", message).json()["code"] == "invalid_argument"
    assert sandbox.pty.kill(handle.pid)


@pytest.mark.parametrize("size", [{"cols": 70_000, "rows": 24}, {"cols": 80, "rows": 70_000}])
def test_pty_of_impossible_size(client: httpx.Client, size: dict[str, int]) -> None:
    message = {"process": {"cmd": "/bin/true"}, "pty": {"size": size}}
    assert error(stream(client, "process.Process/Start", message))["code"] == "invalid_argument"


def test_resize_of_who_has_no_terminal(sandbox: Sandbox, client: httpx.Client) -> None:
    handle = sandbox.commands.run("sleep 1000", background=True)
    message = {"process": {"pid": handle.pid}, "pty": {"size": {"cols": 80, "rows": 24}}}
    assert call(client, "process.Process/Update", message).json()["code"] == "failed_precondition"
    assert handle.kill()
