import json
import shlex
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from berm import config
from berm.cli import daemon, server
from berm.cli.target import Target
from berm.config import Config
from berm.errors import BermError
from tests.cli.conftest import Berm
from tests.cli.standin import KEY

pytestmark = pytest.mark.filterwarnings("ignore:subprocess:ResourceWarning")


@pytest.fixture
def settings(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Config]:
    """A state directory whose server is the stand-in."""
    home.mkdir()
    (home / "key").write_text(f"{KEY}\n")
    monkeypatch.setenv("BERM_HOME", str(home))
    monkeypatch.setattr(daemon, "COMMAND", (sys.executable, "-m", "tests.cli.standin_server"))
    monkeypatch.setattr(server, "require", lambda _host: None)
    settings = config.load({"BERM_HOME": str(home)})
    yield settings
    daemon.stop(settings)


@pytest.fixture
def ctx(settings: Config) -> typer.Context:
    return typer.Context(typer.main.get_command(typer.Typer(callback=lambda: None)), obj=chosen(settings))


def chosen(settings: Config) -> Target:
    return Target(settings, config.load_client(settings, environ={}))


def test_up_starts_follows_the_base_template_and_is_content_the_second_time(
    ctx: typer.Context, settings: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    server.up(ctx)
    record = daemon.running(settings)
    assert record
    printed = capsys.readouterr()
    assert printed.out == f"{record.url}\n"
    assert printed.err.splitlines() == [
        f"berm 9.9 listens on {record.url}",
        "Making the base template; this happens once",
        "unpacking",
        "done",
        'To point the SDKs at it: eval "$(berm env)"',
    ]
    server.up(ctx, wait=False)
    assert capsys.readouterr().err.startswith(
        f"berm 9.9 is already running on {record.url} (pid {record.pid})"
    )


def test_up_fails_with_the_reason_when_the_base_template_does(
    ctx: typer.Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_BUILD", "error")
    with pytest.raises(BermError, match="could not be made: no mirror"):
        server.up(ctx)


def test_down_stops_the_server(
    ctx: typer.Context, settings: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    record = daemon.start(settings)
    server.down(ctx)
    assert daemon.running(settings) is None
    server.down(ctx)
    assert capsys.readouterr().err == f"The server (pid {record.pid}) has stopped.\nNo server is running.\n"


def test_status_of_a_server_that_runs(
    ctx: typer.Context, settings: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    record = daemon.start(settings)
    server.status(ctx, as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "server": {"pid": record.pid, "url": record.url, "version": "9.9"},
        "launcher": False,
        "sandboxes": 1,
        "templates": 1,
    }
    server.status(ctx)
    assert f"running on {record.url}, pid {record.pid}" in capsys.readouterr().out


@pytest.mark.root
def test_up_says_that_the_port_is_taken(berm: Berm, home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        berm.environ["BERM_PORT"] = str(taken.getsockname()[1])
        done = berm("up")
    assert done.returncode == 73
    reason, hint = done.stderr.decode().splitlines()
    assert reason.startswith(f"error: cannot listen on 127.0.0.1:{berm.environ['BERM_PORT']}")
    assert hint.startswith("hint: ")
    assert not daemon.locked(config.load({"BERM_HOME": str(home)}))


def test_status_sees_a_launcher_that_outlives_the_server(berm: Berm, home: Path) -> None:
    (home / "run").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as launcher:
        launcher.bind(str(home / "run/launcher.sock"))
        launcher.listen()
        assert json.loads(berm("status", "--json").stdout)["launcher"] is True
    assert json.loads(berm("status", "--json").stdout)["launcher"] is False


def test_status_without_a_server(berm: Berm) -> None:
    done = berm("status", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "server": None,
        "launcher": False,
        "sandboxes": None,
        "templates": None,
    }
    assert "not running" in berm("status").stdout.decode()


@pytest.mark.parametrize("key", ["e2b_00ff", "it's $(a) \\ key"])
def test_env_is_quoted_for_each_shell(berm: Berm, home: Path, key: str) -> None:
    home.mkdir()
    (home / "key").write_text(f"{key}\n")
    berm.environ["BERM_PORT"] = "1234"
    expected = {
        "E2B_API_URL": "http://127.0.0.1:1234",
        "E2B_SANDBOX_URL": "http://127.0.0.1:1234",
        "E2B_VOLUME_API_URL": "http://127.0.0.1:1234",
        "E2B_API_KEY": key,
        "E2B_DOMAIN": "localhost:1234",
        "E2B_DOCS_BASE": "http://127.0.0.1:1234/docs",
    }
    assert json.loads(berm("env", "--shell", "json").stdout) == expected
    lines = [shlex.split(line) for line in berm("env").stdout.decode().splitlines()]
    assert lines == [["export", f"{name}={value}"] for name, value in expected.items()]
    fish = berm("env", "--shell", "fish").stdout.decode().splitlines()
    assert fish[0] == "set -gx E2B_API_URL 'http://127.0.0.1:1234'"


def test_env_imports_nothing_heavy(berm: Berm, home: Path) -> None:
    home.mkdir()
    (home / "key").write_text(KEY)
    berm.environ["PYTHONPROFILEIMPORTTIME"] = "1"
    imported = berm("env").stderr.decode()
    assert "berm.cli.server" in imported
    assert "httpx" not in imported
    assert "rich" not in imported
