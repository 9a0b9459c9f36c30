import json
import socket
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from berm.config import Config
from berm.models import LogLine
from tests.api.checks import check_error
from tests.conftest import Serve
from tests.fakes import HeldNode
from tests.serving import Served

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)


def create(served: Served, /, path: str = "/v2/sandboxes", **body: Any) -> dict[str, Any]:
    response = served.client.post(path, json={"templateID": "base", **body})
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


def test_create_answers_a_sandbox(served: Served) -> None:
    made = create(served)
    assert made == {
        "templateID": served.base.template_id,
        "sandboxID": made["sandboxID"],
        "alias": "base",
        "clientID": "berm",
        "envdVersion": "0.6.13",
        "envdAccessToken": served.node.specs[made["sandboxID"]].access_token,
        "domain": "localhost:49980",
    }


def test_the_first_version_can_leave_the_agent_open(served: Served) -> None:
    assert "envdAccessToken" in create(served, "/sandboxes")
    assert "envdAccessToken" not in create(served, "/sandboxes", secure=False)
    assert "envdAccessToken" in create(served, "/v2/sandboxes", secure=False)


def test_get_answers_all_details(served: Served) -> None:
    made = create(served, timeout=60, metadata={"k": "v"})
    detail = served.client.get(f"/sandboxes/{made['sandboxID']}").json()
    started, end = (datetime.fromisoformat(detail[key]) for key in ("startedAt", "endAt"))
    assert end - started == timedelta(seconds=60)
    assert detail == {
        **made,
        "startedAt": detail["startedAt"],
        "endAt": detail["endAt"],
        "cpuCount": 2,
        "memoryMB": 1024,
        "diskSizeMB": 10240,
        "metadata": {"k": "v"},
        "state": "running",
        "volumeMounts": [],
        "allowInternetAccess": None,
        "network": {"allowPublicTraffic": True, "allowOut": [], "denyOut": []},
        "lifecycle": {"onTimeout": "kill", "autoResume": False},
    }


def test_who_reaches_its_ports_and_how(served: Served) -> None:
    network = {
        "allowPublicTraffic": False,
        "maskRequestHost": "${PORT}-app.example.com",
        "httpsPorts": [8443, 9443, 8443],
    }
    made = create(served, network=network)
    other = create(served, network=network)
    assert len(made["trafficAccessToken"]) == 64
    assert made["trafficAccessToken"] not in (other["trafficAccessToken"], made["envdAccessToken"])
    again = served.client.post(f"/v2/sandboxes/{made['sandboxID']}/connect", json={}).json()
    assert again == made
    detail = served.client.get(f"/sandboxes/{made['sandboxID']}").json()
    assert "trafficAccessToken" not in detail
    assert detail["network"] == {**network, "httpsPorts": [8443, 9443], "allowOut": [], "denyOut": []}
    listed = served.client.get("/v2/sandboxes").text
    assert made["trafficAccessToken"] not in listed


DEFAULTS: dict[str, Any] = {
    "autoPause": False,
    "autoPauseMemory": True,
    "autoResume": {"enabled": False},
    "volumeMounts": [],
    "mcp": None,
    "iam": {"tokens": {}},
    "metadata": {},
    "envVars": {},
    "allow_internet_access": True,
    "network": {"allowPublicTraffic": True, "allowOut": [], "denyOut": [], "egressProxy": None, "rules": {}},
}


@pytest.mark.parametrize("field", DEFAULTS)
def test_a_default_may_be_spelled_out_or_null(served: Served, field: str) -> None:
    create(served, **{field: DEFAULTS[field]})
    null: dict[str, Any] = {field: None}
    create(served, **null)


WRONG: list[tuple[str, dict[str, object]]] = [
    ("templateID is missing", {}),
    ("templateID is 5", {"templateID": 5}),
    ("timeout is -1", {"templateID": "base", "timeout": -1}),
    ("timeout is 1.5", {"templateID": "base", "timeout": 1.5}),
    ("timeout is '300'", {"templateID": "base", "timeout": "300"}),
    ("timeout is True", {"templateID": "base", "timeout": True}),
    ("timeout is 86401", {"templateID": "base", "timeout": 86401}),
    ("timeout is 1000000", {"templateID": "base", "timeout": 10**60}),
    ("metadata.k is 1", {"templateID": "base", "metadata": {"k": 1}}),
    ("metadata.k is", {"templateID": "base", "metadata": {"k": "\0"}}),
    ("envVars", {"templateID": "base", "envVars": {"A=B": "c"}}),
    ("envVars", {"templateID": "base", "envVars": {"": "c"}}),
    ("envVars.A", {"templateID": "base", "envVars": {"A": "\0"}}),
    ("network.maskRequestHost", {"templateID": "base", "network": {"maskRequestHost": "a\r\nX-Evil: 1"}}),
    ("network.maskRequestHost", {"templateID": "base", "network": {"maskRequestHost": "a\n"}}),
    ("network.maskRequestHost", {"templateID": "base", "network": {"maskRequestHost": "a b"}}),
    ("network.maskRequestHost", {"templateID": "base", "network": {"maskRequestHost": "${HOST}"}}),
    ("network.maskRequestHost", {"templateID": "base", "network": {"maskRequestHost": "a" * 256}}),
    ("network.httpsPorts.0", {"templateID": "base", "network": {"httpsPorts": [0]}}),
    ("network.httpsPorts.0", {"templateID": "base", "network": {"httpsPorts": [65536]}}),
    ("network.httpsPorts.0", {"templateID": "base", "network": {"httpsPorts": [49983]}}),
    ("allow_internet_access is 'no'", {"templateID": "base", "allow_internet_access": "no"}),
]


@pytest.mark.parametrize(("message", "body"), WRONG)
def test_a_wrong_field_is_named_with_its_value(
    untouched: Served, message: str, body: dict[str, object]
) -> None:
    check_error(untouched.client.post("/v2/sandboxes", json=body), 400, message)
    assert not untouched.node.specs


def test_a_long_wrong_value_is_cut(untouched: Served) -> None:
    response = untouched.client.post("/v2/sandboxes", json={"templateID": "base", "timeout": "9" * 10_000})
    assert len(response.json()["message"]) < 300


@pytest.mark.parametrize("template", ["none", "base:none", "", "../base", "\0", "B\u00e4se", "x" * 9999])
def test_an_unknown_template_is_not_found(untouched: Served, template: str) -> None:
    response = untouched.client.post("/v2/sandboxes", json={"templateID": template})
    check_error(response, 400 if template == "\0" else 404, "template")


def test_a_lone_surrogate_is_no_text(untouched: Served) -> None:
    body = b'{"templateID": "base", "metadata": {"k": "\\ud800"}}'
    headers = {"Content-Type": "application/json"}
    check_error(untouched.client.post("/v2/sandboxes", content=body, headers=headers), 400, "metadata.k")


@pytest.mark.parametrize("key", ["UPPER", "under_score", "", "a" * 256])
def test_a_malformed_idempotency_key_is_refused(untouched: Served, key: str) -> None:
    response = untouched.client.post(
        "/v2/sandboxes", json={"templateID": "base"}, headers={"Idempotency-Key": key}
    )
    check_error(response, 400, "idempotency-key")


def test_what_could_be_tried_again_says_when(served: Served) -> None:
    served.call(served.control.templates.begin(served.team_id, "soon"))
    response = served.client.post("/v2/sandboxes", json={"templateID": "soon"})
    check_error(response, 503, "still being made")
    assert response.headers["retry-after"].isdecimal()


def test_listing_counts_and_pages(served: Served, config: Config) -> None:
    made = [create(served)["sandboxID"] for _ in range(3)]
    first = served.client.get("/v2/sandboxes", params={"limit": 2})
    assert first.headers["x-total-running"] == "3"
    token = first.headers["x-next-token"]
    last = served.client.get("/v2/sandboxes", params={"limit": 2, "nextToken": token})
    assert "x-next-token" not in last.headers
    assert [s["sandboxID"] for s in first.json() + last.json()] == made[::-1]
    paused = served.client.get("/v2/sandboxes", params={"state": "paused"})
    assert paused.json() == []
    assert "x-total-running" not in paused.headers


def test_the_first_version_lists_everything_that_runs(served: Served) -> None:
    create(served, metadata={"k": "v"})
    other = create(served, metadata={"k": "w"})
    assert len(served.client.get("/sandboxes").json()) == 2
    (found,) = served.client.get("/sandboxes", params={"metadata": "k=w"}).json()
    assert found["sandboxID"] == other["sandboxID"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("limit", "0"),
        ("limit", "101"),
        ("limit", "ten"),
        ("nextToken", "xyz"),
        ("nextToken", "\u00fc"),
        ("nextToken", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5Lng="),
        ("state", "running,asleep"),
        ("state", ""),
        ("order", "up"),
        ("startedAfter", "yesterday"),
        ("startedAfter", "0001-01-01T00:00:00+14:00"),
        ("startedAfter", "9999-12-31T23:59:59-12:00"),
        ("metadata", "no-equals-sign"),
    ],
)
def test_a_wrong_query_is_named_with_its_value(untouched: Served, field: str, value: str) -> None:
    check_error(untouched.client.get("/v2/sandboxes", params={field: value}), 400, field)


def test_a_refusal_shows_no_variable(untouched: Served) -> None:
    response = untouched.client.post(
        "/v2/sandboxes", json={"templateID": "base", "envVars": {"KEY": ["tusk"]}}
    )
    check_error(response, 400, "envVars")
    assert "tusk" not in response.text


def test_a_next_token_from_elsewhere_is_harmless(served: Served) -> None:
    create(served)
    token = "MC4nIE9SIDE9MSAtLQ=="  # 0.' OR 1=1 --
    response = served.client.get("/v2/sandboxes", params={"nextToken": token})
    assert response.json() == []


def test_a_sandbox_of_another_team_is_not_found(served: Served) -> None:
    made = create(served)
    with served.connect(served.other_team_key()) as stranger:
        path = f"/sandboxes/{made['sandboxID']}"
        check_error(stranger.get(path), 404, "not found")
        check_error(stranger.delete(path), 404, "not found")
        check_error(stranger.post(f"{path}/timeout", json={"timeout": 0}), 404, "not found")
        check_error(stranger.post(f"/v2{path}/connect", json={}), 404, "not found")
        check_error(stranger.get(f"{path}/logs"), 404, "not found")
        assert stranger.get("/v2/sandboxes").json() == []
    assert served.client.get(path).status_code == 200


@pytest.mark.parametrize("sandbox_id", ["i" + "a" * 19, "x", "%00", "%2e%2e", "i" * 5000])
def test_a_sandbox_that_never_was_is_not_found(untouched: Served, sandbox_id: str) -> None:
    check_error(untouched.client.get(f"/sandboxes/{sandbox_id}"), 404, "")
    check_error(untouched.client.delete(f"/sandboxes/{sandbox_id}"), 404, "")


def test_timeout_connect_and_refresh_move_the_end(served: Served) -> None:
    path = f"/sandboxes/{create(served, timeout=60)['sandboxID']}"

    def left() -> float:
        end_at: str = served.client.get(path).json()["endAt"]
        return (datetime.fromisoformat(end_at) - datetime.now(UTC)).total_seconds()

    assert served.client.post(f"{path}/timeout", json={"timeout": 1000}).status_code == 204
    assert 900 < left() <= 1000
    assert served.client.post(f"{path}/connect", json={"timeout": 10}).status_code == 200
    assert served.client.post(f"{path}/refreshes", json={"duration": 10}).status_code == 204
    assert 900 < left() <= 1000
    assert served.client.post(f"{path}/refreshes", json={"duration": 2000}).status_code == 204
    assert 1900 < left() <= 2000
    assert served.client.post(f"/v2{path}/connect", json={"timeout": 3000}).status_code == 200
    assert 2900 < left() <= 3000
    assert served.client.post(f"/v2{path}/connect").status_code == 200
    assert served.client.post(f"{path}/refreshes").status_code == 204


@pytest.mark.parametrize(
    ("call", "body", "message"),
    [
        ("timeout", {}, "timeout is missing"),
        ("timeout", {"timeout": -1}, "timeout is -1"),
        ("timeout", {"timeout": None}, "timeout is None"),
        ("timeout", {"timeout": 10**9}, "timeout is 1000000000"),
        ("connect", {}, "timeout is missing"),
        ("connect", {"timeout": 0.5}, "timeout is 0.5"),
        ("refreshes", {"duration": 3601}, "duration is 3601"),
    ],
)
def test_wrong_times_are_refused(served: Served, call: str, body: dict[str, object], message: str) -> None:
    path = f"/sandboxes/{create(served)['sandboxID']}"
    check_error(served.client.post(f"{path}/{call}", json=body), 400, message)


def test_logs_come_in_both_shapes(served: Served) -> None:
    sandbox_id = create(served)["sandboxID"]
    served.node.lines[sandbox_id] = [
        LogLine(NOON, "info", "one", {"logger": "agent"}),
        LogLine(NOON + timedelta(seconds=1), "made up", "bad \ud800 text"),
    ]
    old = served.client.get(f"/sandboxes/{sandbox_id}/logs").json()
    assert [entry["message"] for entry in old["logEntries"]] == ["one", "bad ? text"]
    assert json.loads(old["logs"][0]["line"]) == {"logger": "agent", "level": "info", "message": "one"}
    assert old["logs"][0]["timestamp"] == "2030-01-01T12:00:00Z"
    new = served.client.get(f"/v2/sandboxes/{sandbox_id}/logs").json()
    assert new == {"logs": old["logEntries"]}
    assert [entry["level"] for entry in new["logs"]] == ["info", "info"]


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("", {"limit": 1}, ["debug"]),
        ("", {"start": NOON_MS + 1000}, ["warn", "error"]),
        ("/v2", {"limit": 2}, ["debug", "warn"]),
        ("/v2", {"direction": "backward", "limit": 2}, ["error", "warn"]),
        ("/v2", {"cursor": NOON_MS + 1000}, ["warn", "error"]),
        ("/v2", {"cursor": NOON_MS + 1000, "direction": "backward"}, ["warn", "debug"]),
        ("/v2", {"level": "warn"}, ["warn", "error"]),
        ("/v2", {"search": "rr"}, ["error"]),
        ("/v2", {"limit": 0}, []),
    ],
)
def test_logs_can_be_narrowed(
    served: Served, path: str, query: dict[str, str | int], expected: list[str]
) -> None:
    sandbox_id = create(served)["sandboxID"]
    served.node.lines[sandbox_id] = [
        LogLine(NOON + timedelta(seconds=n), level, level)
        for n, level in enumerate(["debug", "warn", "error"])
    ]
    answer = served.client.get(f"{path}/sandboxes/{sandbox_id}/logs", params=query).json()
    entries = answer["logs"] if path else answer["logEntries"]
    assert [entry["message"] for entry in entries] == expected


def test_a_client_that_hangs_up_gets_its_sandbox_all_the_same(serve: Serve) -> None:
    node = HeldNode()
    served = serve(node)
    address = urlsplit(served.url)
    body = b'{"templateID": "base"}'
    head = (
        f"POST /v2/sandboxes HTTP/1.1\r\nHost: x\r\nX-API-Key: {served.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(head.encode() + body)
        served.call(node.asked.acquire())
    served.call(node.let_go())
    served.call(served.control.sandboxes.close())
    listed = [s["sandboxID"] for s in served.client.get("/sandboxes").json()]
    assert listed == list(node.running())
    assert len(listed) == 1


def test_chunked_bodies_are_read(served: Served) -> None:
    chunks = iter([b'{"template', b'ID": "base"}'])
    headers = {"Content-Type": "application/json"}
    response: httpx.Response = served.client.post("/v2/sandboxes", content=chunks, headers=headers)
    assert response.status_code == 201
