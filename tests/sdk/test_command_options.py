"""Every option of commands.run, connect, list, kill and of the handles, by both halves of the SDK."""

import time
from pathlib import Path
from typing import Any

import pytest
from e2b import (
    AsyncSandbox,
    AuthenticationException,
    CommandExitException,
    InvalidArgumentException,
    NotFoundException,
    PtySize,
    Sandbox,
    SandboxException,
    Template,
    TimeoutException,
)

from tests.instance import Instance
from tests.sdk.attempts import all_raise
from tests.sdk.halves import shown_to

MIB = 1 << 20
SIZE = PtySize(rows=24, cols=80)


def test_a_command_in_the_foreground_with_every_option(either: Any) -> None:
    seen: dict[str, list[str]] = {"out": [], "err": []}
    done = either.commands.run(
        "echo $A; id -un; pwd; cat; echo bad >&2",
        background=False,
        envs={"A": "value"},
        user="root",
        cwd="/usr",
        on_stdout=seen["out"].append,
        on_stderr=seen["err"].append,
        stdin=False,
        timeout=30,
        request_timeout=30,
        retain_output=True,
    )
    assert (done.stdout, done.stderr, done.exit_code, done.error) == ("value\nroot\n/usr\n", "bad\n", 0, None)
    assert ("".join(seen["out"]), "".join(seen["err"])) == (done.stdout, done.stderr)


def test_a_failure_tells_everything(either: Any) -> None:
    with pytest.raises(CommandExitException) as failure:
        either.commands.run("echo out; echo bad >&2; exit 7", retain_output=True)
    told = failure.value
    assert (told.exit_code, told.stdout, told.stderr, told.error) == (7, "out\n", "bad\n", "exit status 7")
    assert str(told) == "Command exited with code 7 and error:\nbad\n"
    with pytest.raises(CommandExitException) as failure:
        either.commands.run("kill -KILL $$", retain_output=False)
    assert (failure.value.exit_code, failure.value.error) == (-1, "signal: killed")
    assert failure.value.stdout is None


def test_what_is_told_of_a_running_command(either: Any) -> None:
    handle = either.commands.run("exec sleep 1000", background=True, envs={"A": "b"}, cwd="/usr", timeout=0)
    terminal = either.pty.create(size=SIZE, **shown_to(either))
    listed = {info.pid: info for info in either.commands.list(request_timeout=30)}
    assert listed.keys() == {handle.pid, terminal.pid}
    info = listed[handle.pid]
    assert (info.cmd, info.args, info.envs) == ("/bin/bash", ["-l", "-c", "exec sleep 1000"], {"A": "b"})
    assert (info.cwd, info.tag) == ("/usr", None)
    assert listed[terminal.pid].args == ["-i", "-l"]
    assert either.commands.kill(handle.pid, request_timeout=30) is True
    assert either.pty.kill(terminal.pid, request_timeout=30) is True
    assert either.commands.kill(handle.pid) is False
    assert either.commands.list() == []


def test_connecting_again(either: Any) -> None:
    handle = either.commands.run(
        "read line; echo got $line; echo bad >&2; exit 4", background=True, stdin=True
    )
    handle.disconnect()
    loud = either.commands.connect(handle.pid, timeout=0, request_timeout=30)
    quiet = either.commands.connect(handle.pid, retain_output=False)
    assert loud.pid == quiet.pid == handle.pid
    either.commands.send_stdin(handle.pid, "x\n")
    with pytest.raises(CommandExitException) as failure:
        loud.wait()
    assert (failure.value.exit_code, failure.value.stdout, failure.value.stderr) == (4, "got x\n", "bad\n")
    with pytest.raises(CommandExitException) as failure:
        quiet.wait()
    assert (failure.value.exit_code, failure.value.stdout) == (4, None)


def test_a_reader_that_comes_late_sees_what_comes_later(either: Any) -> None:
    first = either.commands.run("echo early; touch ready; read line; echo late", background=True, stdin=True)
    either.commands.run("until test -e ready; do :; done")
    second = either.commands.connect(first.pid)
    first.send_stdin(b"\n")
    assert second.wait().stdout == "late\n"
    assert first.wait().stdout == "early\nlate\n"


def test_a_reader_whose_time_is_over_leaves_the_command_alone(either: Any) -> None:
    handle = either.commands.run("read line; echo $line", background=True, stdin=True, timeout=0)
    with pytest.raises(TimeoutException):
        either.commands.connect(handle.pid, timeout=0.3).wait()
    handle.send_stdin("alive\n")
    assert handle.wait().stdout == "alive\n"


def test_the_time_of_a_command(either: Any) -> None:
    for seconds in (0.3, 1):
        with pytest.raises(TimeoutException, match="exceeding 'timeout'"):
            either.commands.run("exec sleep 1000", timeout=seconds)
    handle = either.commands.run("exec sleep 1000", background=True, timeout=0.3)
    with pytest.raises(TimeoutException):
        handle.wait()
    while either.commands.list():
        time.sleep(0.01)
    assert either.commands.run("sleep 0.5; echo done", timeout=0).stdout == "done\n"


@pytest.mark.parametrize("user", ["root", "user", "1000", "other"])
def test_users(either: Any, user: str) -> None:
    either.commands.run("useradd --create-home --groups audio --shell /bin/sh other", user="root")
    shown = either.commands.run(
        "id -un; id -gn; id -Gn; echo $HOME; echo $USER; pwd", user=user
    ).stdout.split()
    name = "user" if user == "1000" else user
    home = "/root" if name == "root" else f"/home/{name}"
    groups = [name, "audio"] if name == "other" else [name]
    assert shown == [name, name, *groups, home, name, home]


@pytest.mark.parametrize("user", ["nobody-here", "no such\nuser", "x" * 300, "../root", "-1", "65535"])
def test_users_that_do_not_exist(either: Any, user: str) -> None:
    all_raise(
        AuthenticationException,
        "invalid username: '",
        lambda: either.commands.run("true", user=user),
        lambda: either.pty.create(size=SIZE, user=user, **shown_to(either)),
        lambda: either.files.exists("/", user=user),
        lambda: either.files.make_dir("/x", user=user),
    )
    all_raise(
        AuthenticationException,
        "error looking up user",
        lambda: either.files.read("/etc/passwd", user=user),
        lambda: either.files.write("/x", "", user=user),
    )


def test_directories(either: Any) -> None:
    either.files.make_dir("/home/user/two words")
    for cwd, shown in (
        ("~", "/home/user"),
        ("~/two words", "/home/user/two words"),
        ("..", "/home"),
        ("/", "/"),
    ):
        assert either.commands.run("pwd", cwd=cwd).stdout == f"{shown}\n"
    assert either.commands.run("pwd", cwd="~", user="root").stdout == "/root\n"
    all_raise(
        InvalidArgumentException,
        r"cwd '.*' does not exist|home directory",
        lambda: either.commands.run("pwd", cwd="missing"),
        lambda: either.commands.run("pwd", cwd="/etc/passwd"),
        lambda: either.commands.run("pwd", cwd="~root"),
    )


def test_template_then_sandbox_then_command(half: Any, berm: Instance) -> None:
    """Who is nearer to the command decides."""
    name = "ordered-environment"
    values = dict.fromkeys("ABC", "template")
    options: dict[str, Any] = {"api_url": berm.url, "api_key": berm.key}
    built = Template.build(Template().from_base_image().set_envs(values), name, **options)
    sandbox = half.create(built.name, envs={"B": "sandbox", "C": "sandbox"}, timeout=60)
    try:
        done = sandbox.commands.run("echo $A $B $C", envs={"C": "command"})
        assert done.stdout == "template sandbox command\n"
        assert sandbox.commands.run("echo $A $B $C", user="root").stdout == "template sandbox sandbox\n"
    finally:
        sandbox.kill()
        Sandbox.delete_snapshot(built.template_id, **options)


def test_bytes_that_are_no_text(either: Any) -> None:
    done = either.commands.run(r"printf '\377\000\303'; printf '\342\202' >&2")
    assert done.stdout == "\N{REPLACEMENT CHARACTER}\0\N{REPLACEMENT CHARACTER}"
    assert done.stderr == "\N{REPLACEMENT CHARACTER}"


def private(pid: int) -> int:
    """Bytes that a process shares with no other."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Private"))


@pytest.mark.parametrize("idle", [0, 2])
def test_a_hundred_mebibytes_of_output(sandbox: Sandbox, berm: Instance, idle: int) -> None:
    """All of it arrives, and the agent keeps none of it; readers that take nothing hold up no other."""
    agent = berm.init_pid(sandbox.sandbox_id)
    sandbox.commands.run("seq 1000")
    before = private(agent)
    command = "read go; head -c 100M /dev/zero | tr '\\0' 'x'"
    handle = sandbox.commands.run(command, background=True, stdin=True, retain_output=False)
    behind = [sandbox.commands.connect(handle.pid, retain_output=False) for _ in range(idle)]
    handle.send_stdin("\n")
    assert sum(len(stdout or "") for stdout, _, _ in handle) == 100 * MIB
    assert private(agent) - before < 8 * MIB
    for reader in behind:
        with pytest.raises(SandboxException, match="too far behind"):
            reader.wait()


async def test_what_an_asynchronous_handle_knows(asandbox: AsyncSandbox) -> None:
    seen: list[str] = []

    async def keep(text: str) -> None:
        seen.append(text)

    handle = await asandbox.commands.run(
        "echo out; echo bad >&2; read line; exit 3",
        background=True,
        stdin=True,
        on_stdout=keep,
        on_stderr=seen.append,
    )
    assert (handle.exit_code, handle.error) == (None, None)
    await handle.send_stdin(b"\n", request_timeout=30)
    with pytest.raises(CommandExitException):
        await handle.wait()
    assert (handle.stdout, handle.stderr) == ("out\n", "bad\n")
    assert (handle.exit_code, handle.error) == (3, "exit status 3")
    assert sorted(seen) == ["bad\n", "out\n"]
    assert not await handle.kill()


def test_a_synchronous_handle_calls_back_while_it_waits(sandbox: Sandbox) -> None:
    out: list[str] = []
    err: list[str] = []
    handle = sandbox.commands.run("echo out; echo bad >&2", background=True)
    handle.wait(on_stdout=out.append, on_stderr=err.append)
    assert (out, err) == (["out\n"], ["bad\n"])


def test_processes_that_are_not_there(either: Any) -> None:
    sleeping = either.commands.run("exec sleep 1000", background=True, timeout=0).pid
    assert either.commands.kill(sleeping)
    for pid in (sleeping, 1, 4_000_000_000):
        all_raise(
            NotFoundException,
            f"process with pid {pid} not found",
            lambda pid=pid: either.commands.connect(pid),  # type: ignore[misc]
            lambda pid=pid: either.commands.send_stdin(pid, "x"),  # type: ignore[misc]
            lambda pid=pid: either.commands.close_stdin(pid),  # type: ignore[misc]
            lambda pid=pid: either.pty.connect(pid, **shown_to(either)),  # type: ignore[misc]
            lambda pid=pid: either.pty.send_stdin(pid, b"x"),  # type: ignore[misc]
            lambda pid=pid: either.pty.resize(pid, SIZE),  # type: ignore[misc]
        )
        assert either.commands.kill(pid) is False
        assert either.pty.kill(pid) is False
