"""The real command against the real agent; only the server between them is a stand-in."""

import json
import os
import pwd
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Berm
from tests.cli.standin import TOKEN, StandIn, answer, sandbox
from tests.screen import Screen, resize_and_leave, shell


@pytest.fixture(scope="module")
def agent_url() -> Iterator[str]:
    """The agent as a program, outside of any sandbox, with the rights of whoever runs the tests."""
    config = {"access_token": TOKEN, "user": pwd.getpwuid(os.geteuid()).pw_name}
    command = [sys.executable, "-m", "berm.agent", "--port", "0", "--config", json.dumps(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.kill()


@pytest.fixture
def inside(berm: Berm, server: StandIn, agent_url: str) -> Berm:
    """Sandbox i1, whose agent is the real one."""
    server.on("GET /sandboxes/i1", answer(200, sandbox("i1")))
    berm.environ["BERM_SANDBOX_URL"] = agent_url
    return berm


def test_output_and_exit_code_come_through_as_they_are(inside: Berm) -> None:
    done = inside("sandbox", "exec", "i1", r"printf 'a\0\377\r\n'; printf e >&2; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, b"a\0\xff\r\n", b"e")


def test_words_are_passed_without_a_shell(inside: Berm) -> None:
    done = inside("sandbox", "exec", "i1", "--", "printf", "%s|", "a b", "$HOME", "", "-x", "*")
    assert done.stdout == b"a b|$HOME||-x|*|"


def test_stdin_is_passed_on_to_its_end(inside: Berm) -> None:
    data = os.urandom(300_000)
    done = inside("sandbox", "exec", "i1", "--", "cat", stdin=data)
    assert (done.returncode, done.stdout) == (0, data)


def test_a_process_may_end_without_reading_its_stdin(inside: Berm) -> None:
    assert inside("sandbox", "exec", "i1", "exit 4", stdin=bytes(5_000_000)).returncode == 4


def test_a_process_may_close_its_stdin_and_go_on(inside: Berm) -> None:
    script = "exec 0<&-; read -r line < /proc/uptime; echo done"
    done = inside("sandbox", "exec", "i1", script, stdin=bytes(5_000_000))
    assert (done.returncode, done.stdout) == (0, b"done\n")


def test_without_stdin_the_process_sees_its_end(inside: Berm) -> None:
    process = inside.popen("sandbox", "exec", "--no-stdin", "i1", "--", "cat", stdin=subprocess.PIPE)
    with process:
        assert process.wait() == 0


def test_directory_and_environment(inside: Berm) -> None:
    done = inside("sandbox", "exec", "i1", "--cwd", "/usr/lib", "--env", "A=b=c", "pwd; echo $A")
    assert done.stdout == b"/usr/lib\nb=c\n"


def test_a_directory_that_is_not_there(inside: Berm) -> None:
    done = inside("sandbox", "exec", "i1", "--cwd", "/no/such", "pwd")
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: cwd '/no/such' does not exist")


def test_death_by_signal_is_reported_as_a_shell_does(inside: Berm) -> None:
    assert inside("sandbox", "exec", "i1", "kill -SEGV $$").returncode == 128 + signal.SIGSEGV


def test_the_first_interrupt_terminates_and_the_next_kills(inside: Berm) -> None:
    script = "trap 'echo no' TERM; echo on; while :; do sleep 0.02; done"
    with inside.popen("sandbox", "exec", "i1", script) as process:
        assert process.stdout
        assert process.stdout.readline() == b"on\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == b"no\n"
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_ends_the_command_ends_the_process(inside: Berm, number: signal.Signals) -> None:
    with inside.popen("sandbox", "exec", "i1", "echo $$; exec sleep 1000") as process:
        assert process.stdout
        pid = int(process.stdout.readline())
        death = os.pidfd_open(pid)
        process.send_signal(number)
        assert process.wait() == 128 + number
        assert gone(death)


def test_a_reader_that_leaves_ends_the_process(inside: Berm) -> None:
    with inside.popen("sandbox", "exec", "i1", "echo $$; exec yes") as process:
        assert process.stdout
        death = os.pidfd_open(int(process.stdout.readline()))
        process.stdout.close()
        assert process.wait() != 0
        assert gone(death)


def gone(process: int) -> bool:
    """Wait for the end of the process behind a pidfd."""
    with open(process, "rb") as watched:
        return bool(select.select([watched], [], [])[0])


@pytest.fixture
def screen(inside: Berm) -> Iterator[Screen]:
    with shell([*COMMAND, "sandbox", "shell", "i1"], inside.environ) as screen:
        yield screen


def test_a_shell_has_our_size_follows_it_and_gives_its_exit_code(screen: Screen) -> None:
    screen.type(b"stty size\r")
    screen.until(b"24 80\r\n")
    resize_and_leave(screen)


def test_a_terminal_that_does_not_know_its_size(inside: Berm) -> None:
    screen = Screen([*COMMAND, "sandbox", "shell", "i1"], inside.environ, columns=0, rows=0)
    screen.read()
    screen.type(b"stty size; exit\r")
    screen.until(b"24 80\r\n")
    screen.close()


def test_control_c_goes_to_the_shell_and_not_to_us(screen: Screen) -> None:
    screen.type(b"sh -c 'echo re\"\"ady; exec sleep 1000'\r")
    screen.until(b"ready\r\n")
    screen.type(b"\x03")
    screen.type(b"echo code $?\r")
    screen.until(b"code 130\r\n")
    screen.type(b"exit 6\r")
    assert screen.process.wait() == 6


def test_a_shell_that_is_hung_up_leaves_the_terminal_as_it_was(screen: Screen) -> None:
    screen.type(b"PS1=; echo re''ady\r")
    screen.until(b"ready\r\n")
    assert screen.mode() != screen.before
    screen.process.send_signal(signal.SIGTERM)
    assert screen.process.wait() == 128 + signal.SIGTERM
    assert screen.mode() == screen.before


def test_a_shell_needs_a_terminal(inside: Berm) -> None:
    done = inside("sandbox", "shell", "i1")
    assert done.returncode == 2
    assert b"berm sandbox exec" in done.stderr


def test_a_file_goes_there_and_back(inside: Berm, tmp_path: Path) -> None:
    data = os.urandom(1_000_000)
    (tmp_path / "source").write_bytes(data)
    there = tmp_path / "new" / "dir"
    assert inside("sandbox", "upload", "i1", str(tmp_path / "source"), f"{there}/").returncode == 0
    assert (there / "source").read_bytes() == data
    back = tmp_path / "back"
    back.mkdir()
    assert inside("sandbox", "download", "i1", str(there / "source"), str(back)).returncode == 0
    assert (back / "source").read_bytes() == data
    assert [path.name for path in back.iterdir()] == ["source"]


def test_files_pass_through_pipes(inside: Berm, tmp_path: Path) -> None:
    assert inside("sandbox", "upload", "i1", "-", str(tmp_path / "x"), stdin=b"\0\xff").returncode == 0
    assert inside("sandbox", "download", "i1", str(tmp_path / "x"), "-").stdout == b"\0\xff"


def test_an_upload_of_nothing_is_refused_here(inside: Berm, tmp_path: Path) -> None:
    done = inside("sandbox", "upload", "i1", str(tmp_path / "no"), "x")
    assert done.returncode == 2
    assert b"No such file" in done.stderr


def test_a_download_of_nothing_leaves_nothing(inside: Berm, tmp_path: Path) -> None:
    done = inside("sandbox", "download", "i1", "/no/such/file", str(tmp_path / "x"))
    assert done.returncode == 66
    assert list(tmp_path.iterdir()) == []


def test_a_directory_goes_there_and_back(inside: Berm, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "run").write_text("#!/bin/sh\n")
    (source / "sub" / "run").chmod(0o755)
    (source / "link").symlink_to("sub/run")
    there, back = tmp_path / "there", tmp_path / "back"
    assert inside("sandbox", "upload", "i1", str(source), str(there)).returncode == 0
    assert inside("sandbox", "download", "i1", str(there), str(back)).returncode == 0
    assert (back / "sub" / "run").stat().st_mode & 0o777 == 0o755
    assert (back / "link").readlink() == Path("sub/run")


def test_an_upload_that_the_sandbox_refuses_ends(inside: Berm, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "big").write_bytes(bytes(3_000_000))
    (tmp_path / "file").touch()
    done = inside("sandbox", "upload", "i1", str(tmp_path / "source"), str(tmp_path / "file"))
    assert done.returncode == 70
    assert b"error: tar in the sandbox ended" in done.stderr
