import json

import pytest

from berm.cli.sandboxes import pairs
from berm.errors import BermError, Code
from tests.cli.conftest import Berm
from tests.cli.standin import KEY, StandIn, answer, sandbox


def test_create_sends_what_was_asked_for_and_prints_the_id(berm: Berm, server: StandIn) -> None:
    server.on("POST /sandboxes", answer(201, sandbox("i1")))
    done = berm(
        *(
            "sandbox",
            "create",
            "python",
            "--timeout",
            "60",
            "--metadata",
            "a=b=c",
            "--env",
            "X=",
            "--no-internet",
        )
    )
    assert (done.returncode, done.stdout) == (0, b"i1\n")
    assert server.calls[0].headers["x-api-key"] == KEY
    assert server.calls[0].json() == {
        "templateID": "python",
        "secure": True,
        "timeout": 60,
        "metadata": {"a": "b=c"},
        "envVars": {"X": ""},
        "allow_internet_access": False,
    }


def test_create_with_volumes(berm: Berm, server: StandIn) -> None:
    server.on("POST /sandboxes", answer(201, {"sandboxID": "i1"}))
    assert berm("sandbox", "create", "--volume", "a=/mnt/a", "--volume", "b=/b").returncode == 0
    mounts = [{"name": "a", "path": "/mnt/a"}, {"name": "b", "path": "/b"}]
    assert server.calls[0].json()["volumeMounts"] == mounts
    assert b"--volume is 'a'" in berm("sandbox", "create", "--volume", "a").stderr


def test_create_leaves_the_timeout_to_the_server(berm: Berm, server: StandIn) -> None:
    server.on("POST /sandboxes", answer(201, sandbox("i1")))
    assert json.loads(berm("sandbox", "create", "--json").stdout)["sandboxID"] == "i1"
    body = server.calls[0].json()
    assert body["templateID"] == "base"
    assert "timeout" not in body


def test_list_takes_every_page(berm: Berm, server: StandIn) -> None:
    server.on(
        "GET /v2/sandboxes",
        answer(200, [sandbox("i1")], **{"x-next-token": "more"}),
        answer(200, [sandbox("i2")]),
    )
    found = json.loads(berm("sandbox", "list", "--json").stdout)
    assert [s["sandboxID"] for s in found] == ["i1", "i2"]
    assert server.calls[1].query == {"nextToken": ["more"]}


def test_list_encodes_metadata_twice(berm: Berm, server: StandIn) -> None:
    server.on("GET /v2/sandboxes", answer(200, []))
    berm("sandbox", "list", "--state", "running,paused", "--metadata", "a b=c&d")
    assert server.calls[0].query == {"state": ["running,paused"], "metadata": ["a%2520b=c%2526d"]}


def test_list_prints_a_table_without_control_characters(berm: Berm, server: StandIn) -> None:
    server.on("GET /v2/sandboxes", answer(200, [sandbox("i1", metadata={"k": "\x1b]0;x\x07"})]))
    heading, row = berm("sandbox", "list").stdout.decode().splitlines()
    assert heading.split()[:3] == ["ID", "TEMPLATE", "STATE"]
    assert row.split()[:3] == ["i1", "base", "running"]
    assert "\x1b" not in row
    assert "\x07" not in row


def test_info_hides_the_tokens_from_people_only(berm: Berm, server: StandIn) -> None:
    server.on("GET /sandboxes/i1", answer(200, sandbox("i1")))
    assert b"token-of-the-sandbox" not in berm("sandbox", "info", "i1").stdout
    assert json.loads(berm("sandbox", "info", "i1", "--json").stdout) == sandbox("i1")


def test_an_id_is_one_path_segment(berm: Berm, server: StandIn) -> None:
    server.on("GET /sandboxes/..%2Fkeys", answer(200, sandbox("i1")))
    assert berm("sandbox", "info", "../keys").returncode == 0


def test_logs(berm: Berm, server: StandIn) -> None:
    entry = {
        "timestamp": "2026-01-01T00:00:00Z",
        "level": "info",
        "message": "agent \x1b[2J ready",
        "fields": {"pid": "1"},
    }
    server.on("GET /sandboxes/i1/logs", answer(200, {"logs": [], "logEntries": [entry]}))
    assert (
        berm("sandbox", "logs", "i1").stdout.decode()
        == "2026-01-01T00:00:00Z info  agent \ufffd[2J ready pid=1\n"
    )
    assert json.loads(berm("sandbox", "logs", "i1", "--json").stdout) == [entry]


def test_kill_names_those_that_were_not_there(berm: Berm, server: StandIn) -> None:
    server.on("DELETE /sandboxes/i1", answer(204))
    done = berm("sandbox", "kill", "i0", "i1")
    assert done.stdout == b"i1\n"
    assert done.returncode == 66
    assert b"error: no such sandbox: i0\n" in done.stderr


def test_kill_all(berm: Berm, server: StandIn) -> None:
    server.on("GET /v2/sandboxes", answer(200, [sandbox("i1"), sandbox("i2")]))
    server.on("DELETE /sandboxes/i1", answer(204))
    done = berm("sandbox", "kill", "--all")
    assert (done.returncode, done.stdout) == (0, b"i1\n")


@pytest.mark.parametrize("args", [(), ("i1", "--all")])
def test_kill_wants_ids_or_all(berm: Berm, args: tuple[str, ...]) -> None:
    assert berm("sandbox", "kill", *args).returncode == 2


@pytest.mark.parametrize("text", ["novalue", "=x", ""])
def test_pairs_names_the_argument_that_is_wrong(text: str) -> None:
    with pytest.raises(BermError) as caught:
        pairs("--env", ["A=1", text])
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert repr(text) in caught.value.message
