"""`berm sandbox` with a real server: make, look, work inside, copy, end."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.instance import BERM, Instance
from tests.screen import Screen, resize_and_leave, shell


def run(berm: Instance, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [BERM, "sandbox", *arguments]
    return subprocess.run(command, env=berm.env, input=stdin, capture_output=True, check=False)


def test_made_listed_shown_and_ended(berm: Instance) -> None:
    mark = f"mark={uuid4()}"
    options = ("--timeout", "100", "--metadata", mark, "--env", "GREETING=hello you")
    made = json.loads(run(berm, "create", *options, "--no-internet", "--json").stdout)
    sandbox_id = made["sandboxID"]
    (listed,) = json.loads(run(berm, "list", "--metadata", mark, "--json").stdout)
    assert listed["sandboxID"] == sandbox_id
    assert sandbox_id in run(berm, "list").stdout.decode()
    detail = json.loads(run(berm, "info", sandbox_id, "--json").stdout)
    assert (detail["sandboxID"], detail["allowInternetAccess"]) == (sandbox_id, False)
    shown = run(berm, "info", sandbox_id).stdout.decode()
    assert mark.partition("=")[2] in shown
    assert detail["envdAccessToken"] not in shown
    assert run(berm, "exec", sandbox_id, "echo $GREETING").stdout == b"hello you\n"
    assert run(berm, "kill", sandbox_id).stdout == f"{sandbox_id}\n".encode()
    assert json.loads(run(berm, "list", "--metadata", mark, "--json").stdout) == []
    for command in (["info", sandbox_id], ["kill", sandbox_id], ["exec", sandbox_id, "true"]):
        gone = run(berm, *command)
        assert gone.returncode == 66, command
        assert gone.stderr.startswith(b"error: ")


def test_a_template_that_is_not_there(berm: Instance) -> None:
    done = run(berm, "create", "no-such-template")
    assert done.returncode == 66
    assert b"no-such-template" in done.stderr


def test_the_logs(berm: Instance, sandbox: str) -> None:
    assert run(berm, "logs", sandbox).returncode == 0
    assert isinstance(json.loads(run(berm, "logs", sandbox, "--json").stdout), list)


def test_output_and_exit_code(berm: Instance, sandbox: str) -> None:
    done = run(berm, "exec", sandbox, r"printf 'a\0\377\r\n'; printf e >&2; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, b"a\0\xff\r\n", b"e")
    assert run(berm, "exec", sandbox, "kill -SEGV $$").returncode == 139


def test_words_user_directory_and_environment(berm: Instance, sandbox: str) -> None:
    assert run(berm, "exec", sandbox, "--", "printf", "%s|", "a b", "$HOME").stdout == b"a b|$HOME|"
    options = ("--user", "root", "--cwd", "/usr/lib", "--env", "A=b=c")
    done = run(berm, "exec", *options, sandbox, "id -un; pwd; echo $A")
    assert done.stdout == b"root\n/usr/lib\nb=c\n"


def test_input_of_megabytes(berm: Instance, sandbox: str) -> None:
    data = os.urandom(4 << 20)
    done = run(berm, "exec", sandbox, "--", "cat", stdin=data)
    assert (done.returncode, hashlib.sha256(done.stdout).digest()) == (0, hashlib.sha256(data).digest())


def test_an_unknown_user_and_a_missing_directory(berm: Instance, sandbox: str) -> None:
    unknown = run(berm, "exec", "--user", "nobody-here", sandbox, "true")
    assert unknown.returncode == 77
    assert b"invalid username: 'nobody-here'" in unknown.stderr
    missing = run(berm, "exec", "--cwd", "/no/such", sandbox, "true")
    assert missing.returncode == 2
    assert b"cwd '/no/such' does not exist" in missing.stderr


@pytest.fixture
def screen(berm: Instance, sandbox: str) -> Iterator[Screen]:
    with shell([BERM, "sandbox", "shell", sandbox], berm.env) as screen:
        yield screen


def test_a_shell(screen: Screen) -> None:
    screen.type(b"stty size; id -un\r")
    screen.until(b"24 80\r\nuser\r\n")
    resize_and_leave(screen)


def test_a_shell_whose_sandbox_ends(berm: Instance, sandbox: str, screen: Screen) -> None:
    assert run(berm, "kill", sandbox).returncode == 0
    assert screen.process.wait() != 0
    assert screen.mode() == screen.before


def test_files_there_and_back(berm: Instance, sandbox: str, tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    (tmp_path / "source").write_bytes(data)
    assert run(berm, "upload", sandbox, str(tmp_path / "source"), "new/").returncode == 0
    assert run(berm, "exec", sandbox, "stat -c '%U %s' new/source").stdout == f"user {3 << 20}\n".encode()
    assert run(berm, "download", sandbox, "new/source", str(tmp_path / "back")).returncode == 0
    assert (tmp_path / "back").read_bytes() == data
    assert run(berm, "upload", sandbox, "-", "piped", stdin=b"\0\xff").returncode == 0
    assert run(berm, "download", sandbox, "piped", "-").stdout == b"\0\xff"


def test_directories_there_and_back(berm: Instance, sandbox: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "run").write_text("#!/bin/sh\necho ran\n")
    (source / "sub" / "run").chmod(0o755)
    (source / "link").symlink_to("sub/run")
    assert run(berm, "upload", sandbox, str(source), "project").returncode == 0
    assert run(berm, "exec", sandbox, "project/link").stdout == b"ran\n"
    assert run(berm, "download", sandbox, "project", str(tmp_path / "back")).returncode == 0
    assert (tmp_path / "back/sub/run").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "back/link").readlink() == Path("sub/run")


def test_what_cannot_be_copied(berm: Instance, sandbox: str, tmp_path: Path) -> None:
    assert run(berm, "download", sandbox, "missing", str(tmp_path / "x")).returncode == 66
    assert run(berm, "upload", sandbox, str(tmp_path / "missing"), "x").returncode == 2
    assert run(berm, "upload", sandbox, "-", "/etc", stdin=b"x").returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_all_are_ended_at_once(berm: Instance) -> None:
    made = {run(berm, "create").stdout.decode().strip() for _ in range(3)}
    ended = set(run(berm, "kill", "--all").stdout.decode().split())
    assert made <= ended
    assert json.loads(run(berm, "list", "--json").stdout) == []
