import json

from tests.cli.conftest import Berm
from tests.cli.standin import StandIn, answer

LISTED = {"volumeID": "v1", "name": "datasets"}


def test_create_prints_the_id_alone(berm: Berm, server: StandIn) -> None:
    server.on("POST /volumes", answer(201, {**LISTED, "token": "t"}))
    done = berm("volume", "create", "datasets")
    assert (done.returncode, done.stdout) == (0, b"v1\n")
    assert server.calls[0].json() == {"name": "datasets"}
    assert json.loads(berm("volume", "create", "datasets", "--json").stdout)["token"] == "t"


def test_list(berm: Berm, server: StandIn) -> None:
    server.on("GET /volumes", answer(200, [LISTED]))
    assert "v1  datasets" in berm("volume", "list").stdout.decode()
    assert json.loads(berm("volume", "list", "--json").stdout) == [LISTED]


def test_delete(berm: Berm, server: StandIn) -> None:
    server.on("DELETE /volumes/v1", answer(204))
    assert berm("volume", "delete", "v1").returncode == 0
    assert berm("volume", "delete", "v2").returncode == 66
