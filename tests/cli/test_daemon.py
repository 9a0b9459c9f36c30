import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from berm import config
from berm.cli import daemon
from berm.config import Config
from berm.errors import BermError, Code


@pytest.fixture
def settings(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Config]:
    monkeypatch.setenv("BERM_HOME", str(home))
    monkeypatch.setattr(daemon, "COMMAND", (sys.executable, "-m", "tests.cli.standin_server"))
    settings = config.load({"BERM_HOME": str(home)})
    yield settings
    daemon.stop(settings)


@pytest.mark.filterwarnings("ignore:subprocess:ResourceWarning")
def test_a_server_is_started_found_and_stopped(settings: Config) -> None:
    assert daemon.running(settings) is None
    record = daemon.start(settings)
    assert record.version == "9.9"
    assert daemon.running(settings) == record
    assert os.getsid(record.pid) == record.pid
    assert Path(f"/proc/{record.pid}/fd/0").readlink() == Path("/dev/null")
    assert daemon.stop(settings) == record
    assert daemon.running(settings) is None
    assert daemon.stop(settings) is None


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (
            '{"code": "conflict", "message": "port 1 is taken", "hint": "x"}\n',
            Code.CONFLICT,
            "port 1 is taken",
        ),
        ("port 1 is taken\n", Code.UNAVAILABLE, "the server did not start: port 1 is taken"),
        ("", Code.UNAVAILABLE, "the server did not start: it ended without a reason"),
        ('{"code": "unheard of"}', Code.UNAVAILABLE, 'the server did not start: {"code": "unheard of"}'),
    ],
)
@pytest.mark.filterwarnings("ignore:subprocess:ResourceWarning")
def test_a_server_that_gives_up_says_why(
    settings: Config, monkeypatch: pytest.MonkeyPatch, answer: str, code: Code, message: str
) -> None:
    monkeypatch.setenv("STANDIN_REFUSES", answer)
    with pytest.raises(BermError) as caught:
        daemon.start(settings)
    assert (caught.value.code, caught.value.message) == (code, message)


def test_a_record_without_the_lock_is_not_a_server(settings: Config) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as bystander:
        settings.run_dir.mkdir(parents=True)
        (settings.run_dir / "server.lock").touch()
        record = {"pid": bystander.pid, "url": "http://127.0.0.1:1", "version": "1"}
        (settings.run_dir / "server.json").write_text(json.dumps(record))
        assert daemon.stop(settings) is None
        assert bystander.poll() is None


def test_a_record_that_is_broken_is_named(settings: Config) -> None:
    settings.run_dir.mkdir(parents=True)
    (settings.run_dir / "server.json").write_text("{}")
    with pytest.raises(BermError, match=r"server\.json cannot be understood"):
        daemon.running(settings)
    (settings.run_dir / "server.json").unlink()
