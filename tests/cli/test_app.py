import socket

import pytest
from typer.testing import CliRunner

from berm import __version__
from berm.cli.app import EXIT_CODES, app
from berm.errors import Code
from tests.cli.conftest import Berm
from tests.cli.standin import StandIn, answer


def test_every_kind_of_error_has_an_exit_code_that_is_not_success() -> None:
    assert set(EXIT_CODES) == set(Code)
    assert 0 not in EXIT_CODES.values()


@pytest.mark.parametrize(
    ("status", "exit_code"), [(400, 2), (401, 77), (403, 77), (409, 73), (429, 75), (500, 70), (503, 69)]
)
def test_the_servers_refusal_is_a_sentence_and_an_exit_code(
    berm: Berm, server: StandIn, status: int, exit_code: int
) -> None:
    server.on("GET /api-keys", answer(status, {"code": status, "message": "because of \x1b[31mthis"}))
    done = berm("key", "list")
    assert done.returncode == exit_code
    assert done.stderr.decode().splitlines()[0] == "error: because of \ufffd[31mthis"


def test_an_answer_that_is_not_ours_is_named(berm: Berm, server: StandIn) -> None:
    server.on("GET /api-keys", answer(200))
    server.answers["GET /api-keys"][0].body = b"<html>"
    done = berm("key", "list")
    assert done.returncode == 70
    assert b"not JSON" in done.stderr


def test_no_server_says_how_to_start_one(berm: Berm) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    done = berm("--url", url, "key", "list")
    assert done.returncode == 69
    assert done.stderr.decode().startswith(f"error: no berm server at {url}")
    assert "berm up" in done.stderr.decode()


@pytest.mark.parametrize("url", ["localhost:1", "ftp://localhost", "http://a:b", ""])
def test_a_url_that_is_none(berm: Berm, url: str) -> None:
    berm.environ["BERM_URL"] = "nonsense"
    done = berm("--url", url, "key", "list")
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


def test_no_key_says_where_one_comes_from(berm: Berm) -> None:
    del berm.environ["BERM_API_KEY"]
    done = berm("key", "list")
    assert done.returncode == 77
    assert b"BERM_API_KEY" in done.stderr


def test_a_wrong_setting_is_named(berm: Berm) -> None:
    berm.environ["BERM_PORT"] = "http"
    done = berm("env")
    assert done.returncode == 2
    assert b"BERM_PORT" in done.stderr


def test_version(berm: Berm) -> None:
    assert berm("--version").stdout.decode() == f"{__version__}\n"


@pytest.mark.parametrize(
    "path",
    [
        *(("up",), ("down",), ("status",), ("env",), ("doctor",)),
        *(("key", name) for name in ("create", "list", "delete")),
        *(("sandbox", name) for name in ("create", "list", "info", "logs", "kill")),
        *(("sandbox", name) for name in ("exec", "shell", "upload", "download")),
    ],
)
def test_every_command_explains_itself_by_example(path: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*path, "--help"])
    assert done.exit_code == 0
    assert f"berm {' '.join(path)}" in done.output.partition("Example")[2]
