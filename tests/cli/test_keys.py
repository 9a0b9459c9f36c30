import json

from tests.cli.conftest import Berm
from tests.cli.standin import StandIn, answer

MASK = {"prefix": "e2b_", "valueLength": 40, "maskedValuePrefix": "ab", "maskedValueSuffix": "wxyz"}
LISTED = {"id": "k1", "name": "ci", "mask": MASK, "createdAt": "2026-01-01T00:00:00Z", "lastUsed": None}


def test_create_prints_the_key_alone(berm: Berm, server: StandIn) -> None:
    server.on("POST /api-keys", answer(201, {**LISTED, "key": "e2b_abc"}))
    done = berm("key", "create", "ci")
    assert (done.returncode, done.stdout) == (0, b"e2b_abc\n")
    assert server.calls[0].json() == {"name": "ci"}


def test_list(berm: Berm, server: StandIn) -> None:
    server.on("GET /api-keys", answer(200, [LISTED]))
    assert "k1  ci    e2b_ab...wxyz" in berm("key", "list").stdout.decode()
    assert json.loads(berm("key", "list", "--json").stdout) == [LISTED]


def test_rename(berm: Berm, server: StandIn) -> None:
    server.on("PATCH /api-keys/k1", answer(200, LISTED))
    assert berm("key", "rename", "k1", "deploy").returncode == 0
    assert server.calls[0].json() == {"name": "deploy"}
    assert berm("key", "rename", "k2", "deploy").returncode == 66


def test_delete(berm: Berm, server: StandIn) -> None:
    server.on("DELETE /api-keys/k1", answer(204))
    assert berm("key", "delete", "k1").returncode == 0
    assert berm("key", "delete", "k2").returncode == 66
