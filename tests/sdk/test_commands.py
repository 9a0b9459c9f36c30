"""Commands as the SDK runs them: output, input, users, environment, ends of every kind."""

import asyncio
import hashlib
import signal
from collections.abc import Callable

import pytest
from e2b import (
    AsyncSandbox,
    AuthenticationException,
    CommandExitException,
    InvalidArgumentException,
    NotFoundException,
    Sandbox,
    SandboxException,
    TimeoutException,
)


def out(sandbox: Sandbox, command: str, **options: str) -> str:
    result = sandbox.commands.run(command, user=options.get("user"), cwd=options.get("cwd"))
    return str(result.stdout).rstrip("\n")


def test_output_comes_apart_and_to_the_callbacks(sandbox: Sandbox) -> None:
    stdout: list[str] = []
    stderr: list[str] = []
    done = sandbox.commands.run(
        "echo one; echo two >&2; echo three", on_stdout=stdout.append, on_stderr=stderr.append
    )
    assert (done.stdout, done.stderr, done.exit_code, done.error) == ("one\nthree\n", "two\n", 0, None)
    assert "".join(stdout) == done.stdout
    assert "".join(stderr) == done.stderr


def test_output_that_is_not_kept_still_reaches_the_callback(sandbox: Sandbox) -> None:
    seen: list[str] = []
    done = sandbox.commands.run("seq 5", on_stdout=seen.append, retain_output=False)
    assert done.stdout is None
    assert "".join(seen) == "1\n2\n3\n4\n5\n"


def test_output_arrives_while_the_command_runs(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("echo first; read line; echo got $line", background=True, stdin=True)
    seen = ""
    for stdout, _, _ in handle:
        seen += stdout or ""
        if seen == "first\n":
            handle.send_stdin("more\n")
    assert seen == "first\ngot more\n"


def test_a_failed_command_raises_what_it_said(sandbox: Sandbox) -> None:
    with pytest.raises(CommandExitException) as failure:
        sandbox.commands.run("echo out; echo bad >&2; exit 7")
    assert (failure.value.exit_code, failure.value.stdout, failure.value.stderr) == (7, "out\n", "bad\n")
    assert failure.value.error == "exit status 7"


def test_a_command_that_does_not_exist(sandbox: Sandbox) -> None:
    with pytest.raises(CommandExitException) as failure:
        sandbox.commands.run("no-such-program")
    assert failure.value.exit_code == 127
    assert "command not found" in failure.value.stderr


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_death_by_a_signal_is_named(sandbox: Sandbox, number: signal.Signals) -> None:
    with pytest.raises(CommandExitException) as failure:
        sandbox.commands.run(f"kill -{number.value} $$")
    assert failure.value.exit_code == -1
    assert (failure.value.error or "").startswith("signal: ")


def test_large_output_is_whole(sandbox: Sandbox) -> None:
    done = sandbox.commands.run("seq 1500000; seq 200000 >&2")
    assert done.stdout == "".join(f"{n}\n" for n in range(1, 1_500_001))
    assert done.stderr == "".join(f"{n}\n" for n in range(1, 200_001))


def test_characters_are_not_broken_between_pieces(sandbox: Sandbox) -> None:
    done = sandbox.commands.run('python3 -c \'print("\\u20ac" * 400000, end="")\'')
    assert done.stdout == "\N{EURO SIGN}" * 400_000


def test_bytes_that_are_no_text_do_no_harm(sandbox: Sandbox) -> None:
    done = sandbox.commands.run(r"printf 'a\377\000b'")
    assert done.stdout == "a\N{REPLACEMENT CHARACTER}\0b"


def test_background_list_connect_and_kill(sandbox: Sandbox) -> None:
    command = "echo up; exec sleep 1000"
    handle = sandbox.commands.run(command, background=True, envs={"A": "b"}, timeout=0)
    assert next(iter(handle))[0] == "up\n"
    (info,) = [found for found in sandbox.commands.list() if found.pid == handle.pid]
    assert (info.cmd, info.args, info.envs) == ("/bin/bash", ["-l", "-c", command], {"A": "b"})
    other = sandbox.commands.connect(handle.pid)
    assert sandbox.commands.kill(handle.pid)
    for ended in (handle, other):
        with pytest.raises(CommandExitException) as failure:
            ended.wait()
        assert failure.value.error == "signal: killed"
    assert handle.pid not in {found.pid for found in sandbox.commands.list()}
    assert not sandbox.commands.kill(handle.pid)


def test_the_pid_is_that_of_the_sandbox(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("exec sleep 1000", background=True, timeout=0)
    assert out(sandbox, f"cat /proc/{handle.pid}/comm") in ("sleep", "bash")
    assert handle.kill()
    assert not handle.kill()


def test_several_readers_see_the_same_output(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("read line; seq 50000; exit 3", background=True, stdin=True)
    readers = [handle, *(sandbox.commands.connect(handle.pid) for _ in range(2))]
    handle.send_stdin("go\n")
    for reader in readers:
        with pytest.raises(CommandExitException) as failure:
            reader.wait()
        assert failure.value.exit_code == 3
        assert failure.value.stdout == "".join(f"{n}\n" for n in range(1, 50_001))


def test_a_reader_that_leaves_does_not_end_the_command(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("read line; echo $line", background=True, stdin=True)
    other = sandbox.commands.connect(handle.pid)
    handle.disconnect()
    other.send_stdin("alive\n")
    assert other.wait().stdout == "alive\n"


def test_connecting_to_a_process_that_is_not_there(sandbox: Sandbox) -> None:
    with pytest.raises(NotFoundException):
        sandbox.commands.connect(999_999)
    with pytest.raises(NotFoundException):
        sandbox.commands.send_stdin(999_999, "x")


def test_stdin_is_passed_on_and_closed(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("cat; echo end", background=True, stdin=True)
    handle.send_stdin("one ")
    handle.send_stdin(b"two\n")
    handle.close_stdin()
    assert handle.wait().stdout == "one two\nend\n"


def test_a_stream_of_input_keeps_its_order(sandbox: Sandbox) -> None:
    pieces = [bytes([n % 256]) * 10_000 for n in range(300)]
    handle = sandbox.commands.run("sha256sum", background=True, stdin=True)
    sandbox.commands.stream_input(handle.pid, pieces)
    handle.close_stdin()
    assert handle.wait().stdout.split()[0] == hashlib.sha256(b"".join(pieces)).hexdigest()


def test_input_that_nobody_reads_holds_up_its_sender_alone(sandbox: Sandbox) -> None:
    handle = sandbox.commands.run("exec sleep 1000", background=True, stdin=True, timeout=0)
    with pytest.raises(TimeoutException):
        handle.send_stdin(b"x" * (4 << 20), request_timeout=1)
    assert sandbox.commands.run("echo well").stdout == "well\n"
    assert handle.kill()


def test_without_stdin_a_command_sees_its_end(sandbox: Sandbox) -> None:
    assert sandbox.commands.run("cat; echo end").stdout == "end\n"
    handle = sandbox.commands.run("exec sleep 1000", background=True)
    with pytest.raises(SandboxException):
        handle.send_stdin("x")
    handle.kill()


def test_users(sandbox: Sandbox) -> None:
    assert out(sandbox, "id -un; id -u; echo $HOME; echo $USER; echo $LOGNAME; pwd") == "\n".join(
        ("user", "1000", "/home/user", "user", "user", "/home/user")
    )
    assert out(sandbox, "id -un; id -u; echo $HOME; pwd", user="root") == "root\n0\n/root\n/root"


def test_the_user_becomes_root_without_a_password(sandbox: Sandbox) -> None:
    assert out(sandbox, "sudo -n id -un; sudo -n -u user id -un") == "root\nuser"
    sandbox.commands.run("sudo useradd --create-home --groups audio other")
    assert out(sandbox, "id -un; id -Gn; pwd", user="other") == "other\nother audio\n/home/other"


def test_a_user_that_does_not_exist(sandbox: Sandbox) -> None:
    with pytest.raises(AuthenticationException, match="invalid username: 'nobody-here'"):
        sandbox.commands.run("true", user="nobody-here")


@pytest.mark.parametrize(
    ("cwd", "shown"), [("/usr/lib", "/usr/lib"), ("~", "/home/user"), ("sub dir", "/home/user/sub dir")]
)
def test_the_working_directory(sandbox: Sandbox, cwd: str, shown: str) -> None:
    sandbox.files.make_dir("sub dir")
    assert out(sandbox, "pwd", cwd=cwd) == shown


@pytest.mark.parametrize("cwd", ["/no/such", "/etc/passwd"])
def test_a_working_directory_that_is_not_there(sandbox: Sandbox, cwd: str) -> None:
    with pytest.raises(InvalidArgumentException, match=f"cwd '{cwd}' does not exist"):
        sandbox.commands.run("pwd", cwd=cwd)


def test_the_order_of_environments(create: Callable[..., Sandbox]) -> None:
    sandbox = create(envs={"A": "sandbox", "B": "sandbox", "HOME": "/tmp"})
    done = sandbox.commands.run('echo "$A $B $C $HOME"', envs={"B": "command", "C": "two words\nand \"'$x"})
    assert done.stdout == "sandbox command two words\nand \"'$x /tmp\n"
    assert "/usr/bin" in out(sandbox, "echo $PATH")


def test_a_timeout_ends_the_command_and_says_so(sandbox: Sandbox) -> None:
    with pytest.raises(TimeoutException):
        sandbox.commands.run("echo $$ > pid; exec sleep 1000", timeout=1)
    pid = int(sandbox.files.read("pid"))
    sandbox.commands.run(f"while kill -0 {pid} 2>/dev/null; do :; done", timeout=30)
    assert pid not in {found.pid for found in sandbox.commands.list()}


def test_what_a_command_leaves_behind_lives_on(sandbox: Sandbox) -> None:
    pid = out(sandbox, "nohup sleep 1000 > /dev/null 2>&1 & echo $!")
    assert out(sandbox, f"cat /proc/{pid}/comm") == "sleep"


def test_nothing_is_left_of_many_short_commands(sandbox: Sandbox) -> None:
    for number in range(60):
        assert out(sandbox, f"(true &); echo {number}") == str(number)
    assert sandbox.commands.list() == []
    assert out(sandbox, "grep -l 'State:.Z' /proc/[0-9]*/status 2>/dev/null || true") == ""


async def test_the_asynchronous_half(asandbox: AsyncSandbox) -> None:
    seen: list[str] = []
    done = await asandbox.commands.run("echo a; echo b >&2", on_stdout=seen.append)
    assert (done.stdout, done.stderr, seen) == ("a\n", "b\n", ["a\n"])
    with pytest.raises(CommandExitException) as failure:
        await asandbox.commands.run("exit 5")
    assert failure.value.exit_code == 5
    handle = await asandbox.commands.run("cat", background=True, stdin=True)
    other = await asandbox.commands.connect(handle.pid)
    await handle.send_stdin("both")
    await handle.close_stdin()
    assert (await handle.wait()).stdout == (await other.wait()).stdout == "both"
    with pytest.raises(TimeoutException):
        await asandbox.commands.run("sleep 1000", timeout=1)
    with pytest.raises(AuthenticationException):
        await asandbox.commands.run("true", user="nobody-here")


async def test_a_hundred_commands_at_once(asandbox: AsyncSandbox) -> None:
    done = await asyncio.gather(*(asandbox.commands.run(f"echo {number}") for number in range(100)))
    assert [result.stdout for result in done] == [f"{number}\n" for number in range(100)]
