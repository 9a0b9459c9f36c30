"""`berm up`, `down`, `status`, `env` with a real server, and what keeps one from starting."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.instance import BERM, Instance, free_port


def run(instance: Instance, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
    changed = {**instance.env, **env}
    return subprocess.run(command, env=changed, text=True, capture_output=True, check=False)


def test_up_when_it_is_up(berm: Instance) -> None:
    pid = berm.server_pid()
    done = berm.berm("up")
    assert done.stdout == f"{berm.url}\n"
    assert f"is already running on {berm.url} (pid {pid})" in done.stderr
    assert berm.server_pid() == pid


def test_status(berm: Instance, sandbox: str) -> None:
    shown = json.loads(berm.berm("status", "--json").stdout)
    assert shown["server"]["pid"] == berm.server_pid()
    assert shown["server"]["url"] == berm.url
    assert shown["launcher"] is True
    listed = json.loads(berm.berm("sandbox", "list", "--json").stdout)
    assert sandbox in {found["sandboxID"] for found in listed}
    assert shown["sandboxes"] == len(listed)
    assert shown["templates"] >= 1
    assert "running on" in berm.berm("status").stdout


def test_the_environment_for_a_shell(berm: Instance) -> None:
    script = f'unset E2B_API_KEY; eval "$({BERM} env)"; printf "%s %s" "$E2B_API_URL" "$E2B_API_KEY"'
    assert run(berm, "sh", "-c", script).stdout == f"{berm.url} {berm.key}"
    assert f"set -gx E2B_API_KEY '{berm.key}'" in berm.berm("env", "--shell", "fish").stdout


def test_a_second_server_on_one_state_directory(berm: Instance) -> None:
    done = run(berm, sys.executable, "-m", "berm.server", BERM_PORT=str(free_port()))
    assert done.returncode != 0
    assert f"another server runs on the state directory {berm.home}" in done.stderr
    assert json.loads(berm.berm("status", "--json").stdout)["server"]["url"] == berm.url


def test_a_port_that_is_in_use(berm: Instance, tmp_path: Path) -> None:
    done = run(berm, BERM, "up", BERM_HOME=str(tmp_path / "home"))
    assert done.returncode == 73, done.stderr
    port = berm.env["BERM_PORT"]
    assert f"error: cannot listen on 127.0.0.1:{port}: Address already in use" in done.stderr
    assert "hint: set BERM_PORT or BERM_HOST" in done.stderr
    assert not (tmp_path / "home/run/launcher.sock").exists()


def test_a_setting_that_cannot_be_read(berm: Instance) -> None:
    done = run(berm, BERM, "up", BERM_PORT="many")
    assert done.returncode == 2
    assert "error: BERM_PORT is 'many', which is not a int" in done.stderr


AS_NOBODY = """
import os
import berm.server
from berm.cli.app import main
os.setgroups([]); os.setgid(65534); os.setuid(65534)
main()
"""
"""Not by `setpriv`: the interpreter may lie where `nobody` cannot look, and is then loaded before."""


@pytest.mark.parametrize("command", [("up",), ("down",), ("down", "--kill"), ("status",), ("env",)])
def test_without_root(berm: Instance, command: tuple[str, ...]) -> None:
    done = run(berm, sys.executable, "-c", AS_NOBODY, *command)
    assert done.returncode == 77
    assert "Permission denied\nhint: " in done.stderr
    assert "root" in done.stderr


def test_a_first_start_without_root(berm: Instance) -> None:
    done = run(berm, sys.executable, "-c", AS_NOBODY, "up", BERM_HOME="/nonexistent/berm")
    assert done.returncode == 78
    assert "wanted root; run it as root, as with sudo\n" in done.stderr
    assert not Path("/nonexistent").exists()


def test_no_server_to_talk_to(berm: Instance) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = run(berm, BERM, "--url", url, "sandbox", "list")
    assert done.returncode == 69
    assert f"error: no berm server at {url}" in done.stderr
    assert "hint: start one with `berm up`" in done.stderr


def test_down_then_up(berm: Instance, sandbox: str) -> None:
    try:
        assert "has stopped" in berm.berm("down").stderr
        assert json.loads(berm.berm("status", "--json").stdout)["server"] is None
        assert "not running" in berm.berm("status").stdout
        assert berm.berm("down").stderr == "No server is running.\n"
        assert berm.berm("sandbox", "list", check=False).returncode == 69
    finally:
        assert berm.berm("up").stdout == f"{berm.url}\n"
    assert berm.berm("sandbox", "exec", sandbox, "echo on").stdout == "on\n"


def test_two_starts_at_once_make_one_server(berm: Instance) -> None:
    berm.berm("down")
    pipe = subprocess.PIPE
    starts = [
        subprocess.Popen([BERM, "up"], env=berm.env, stdout=pipe, stderr=pipe, text=True) for _ in range(3)
    ]
    ended = [(start.communicate(), start.returncode) for start in starts]
    for (stdout, stderr), code in ended:
        assert (code, stdout) == (0, f"{berm.url}\n") or "another server runs" in stderr
    assert 0 in [code for _, code in ended]
    assert json.loads(berm.berm("status", "--json").stdout)["server"]["url"] == berm.url


def test_what_this_machine_has(berm: Instance) -> None:
    done = berm.berm("doctor", check=False)
    assert "kernel" in done.stdout
    assert done.returncode == 0, done.stdout
