import json
from pathlib import Path

import pytest

from tests.cli.conftest import Berm
from tests.cli.standin import StandIn, answer

TOKEN = "admin-token-of-the-test"
TEAM = {
    "teamID": "t1",
    "name": "guests",
    "createdAt": "2026-01-01T00:00:00Z",
    "running": 3,
    "limits": {"maxSandboxes": 20, "creationRate": None, "maxTimeout": None},
    "inForce": {"maxSandboxes": 20, "creationRate": 0, "maxTimeout": 86400},
}


@pytest.fixture(autouse=True)
def _token(berm: Berm) -> None:
    berm.environ["BERM_ADMIN_TOKEN"] = TOKEN


def test_create_prints_the_key_alone(berm: Berm, server: StandIn) -> None:
    server.on("POST /berm/teams", answer(201, {**TEAM, "apiKey": "e2b_abc"}))
    done = berm("team", "create", "guests", "--sandboxes", "20", "--timeout", "default")
    assert (done.returncode, done.stdout) == (0, b"e2b_abc\n")
    (call,) = server.calls
    assert call.json() == {"name": "guests", "maxSandboxes": 20, "maxTimeout": None}
    assert call.headers["x-admin-token"] == TOKEN
    assert "x-api-key" not in call.headers


def test_list(berm: Berm, server: StandIn) -> None:
    server.on("GET /berm/teams", answer(200, [TEAM]))
    assert "t1  guests  3        20         no limit  86400" in berm("team", "list").stdout.decode()
    assert json.loads(berm("team", "list", "--json").stdout) == [TEAM]


def test_limits(berm: Berm, server: StandIn) -> None:
    server.on("PATCH /berm/teams/guests", answer(200, TEAM))
    done = berm("team", "limits", "guests", "--rate", "5")
    assert (done.returncode, done.stdout) == (0, b"sandboxes 20, rate no limit, timeout 86400\n")
    assert server.calls[0].json() == {"creationRate": 5}


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "\u0663"])
def test_a_limit_that_is_no_number(berm: Berm, server: StandIn, text: str) -> None:
    done = berm("team", "limits", "guests", f"--sandboxes={text}")
    assert done.returncode == 2
    assert b"give a whole number" in done.stderr
    assert not server.calls


def test_a_wrong_token_is_told_with_what_to_do(berm: Berm, server: StandIn) -> None:
    server.on("GET /berm/teams", answer(401, {"code": 401, "message": "the admin token is wrong"}))
    done = berm("team", "list")
    assert done.returncode == 77
    assert b"set BERM_ADMIN_TOKEN" in done.stderr


def test_the_token_of_the_state_directory_is_for_this_machine(
    berm: Berm, server: StandIn, home: Path
) -> None:
    del berm.environ["BERM_ADMIN_TOKEN"]
    done = berm("team", "list")
    assert (done.returncode, b"no admin token: BERM_ADMIN_TOKEN is not set" in done.stderr) == (77, True)
    home.mkdir()
    (home / "admin-token").write_text(f"{TOKEN}\n")
    server.on("GET /berm/teams", answer(200, []))
    assert berm("team", "list").returncode == 0
    assert server.calls[0].headers["x-admin-token"] == TOKEN
    done = berm("--url", "http://192.0.2.1", "team", "list")
    assert (done.returncode, b"no admin token for http://192.0.2.1" in done.stderr) == (77, True)
