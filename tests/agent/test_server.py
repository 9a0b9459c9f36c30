import json
import socket
import struct
import time
from contextlib import closing

import httpx
import pytest

from tests.agent.conftest import TOKEN, Agent, Start
from tests.agent.wire import STREAM, call, error, frame, frames, start

pytestmark = pytest.mark.root

JSON = {"content-type": "application/json"}
LIST = "/process.Process/List"


def raw(agent: Agent, data: bytes) -> bytes:
    """What the agent answers to these bytes before it closes the connection."""
    host, port = agent.url.removeprefix("http://").split(":")
    with closing(socket.create_connection((host, int(port)), timeout=20)) as connection:
        connection.sendall(data)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_health_needs_no_token(agent: Agent) -> None:
    assert httpx.get(f"{agent.url}/health").status_code == 204


@pytest.mark.parametrize("headers", [{}, {"X-Access-Token": "wrong"}, {"X-Access-Token": TOKEN + "x"}])
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/envs"), ("GET", "/metrics"), ("POST", "/init"), ("POST", "/files/compose"), ("GET", "/files")],
)
def test_everything_else_does(agent: Agent, headers: dict[str, str], method: str, path: str) -> None:
    answer = httpx.request(method, agent.url + path, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, 401)


@pytest.mark.parametrize("headers", [{}, {"X-Access-Token": "wrong"}])
def test_so_do_calls(agent: Agent, headers: dict[str, str]) -> None:
    answer = httpx.post(agent.url + LIST, json={}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    streamed = httpx.post(f"{agent.url}/process.Process/Start", content=frame({}), headers=headers | STREAM)
    assert (streamed.status_code, streamed.json()["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize("path", ["/files?path=/tmp/x", LIST])
def test_small_requests_are_whole_before_they_are_refused(agent: Agent, path: str) -> None:
    host, port = agent.url.removeprefix("http://").split(":")
    with closing(socket.create_connection((host, int(port)), timeout=20)) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nContent-Length: 2\r\n\r\n".encode())
        for _ in range(5):
            assert httpx.get(f"{agent.url}/health").status_code == 204
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)
        connection.settimeout(20)
        connection.sendall(b"{}")
        assert b" 401 " in connection.recv(65536)


@pytest.mark.parametrize(("token", "heard_out"), [(TOKEN, True), ("wrong", False)])
def test_an_upload_that_fails_is_heard_out_if_its_sender_may_ask(
    agent: Agent, token: str, heard_out: bool
) -> None:
    """Some clients cannot bear an answer in the middle of what they send."""
    host, port = agent.url.removeprefix("http://").split(":")
    head = f"POST /files?path=/ HTTP/1.1\r\nX-Access-Token: {token}\r\nContent-Length: {2 << 20}\r\n"
    kind = "Content-Type: application/octet-stream\r\n\r\n"
    with closing(socket.create_connection((host, int(port)), timeout=20)) as connection:
        connection.sendall(f"{head}{kind}".encode() + bytes(1 << 20))
        for _ in range(5):
            assert httpx.get(f"{agent.url}/health").status_code == 204
        if heard_out:
            connection.setblocking(False)
            with pytest.raises(BlockingIOError):
                connection.recv(1)
            connection.settimeout(20)
            connection.sendall(bytes(1 << 20))
        assert (b" 400 " if heard_out else b" 401 ") in connection.recv(65536)


def test_without_a_token_nothing_is_checked(start_agent: Start) -> None:
    agent = start_agent(access_token=None)
    assert httpx.get(f"{agent.url}/envs").status_code == 200
    assert httpx.get(f"{agent.url}/files", params={"path": "/etc/passwd"}).status_code == 200


def test_envs_and_init(start_agent: Start) -> None:
    agent = start_agent(env={"HOME": "/", "A": "1"})
    message = {
        "envVars": {"B": "2"},
        "accessToken": TOKEN,
        "timestamp": "2026-01-01T00:00:00Z",
        "defaultUser": "nobody",
        "defaultWorkdir": "/tmp",
    }
    assert agent.client.post("/init", json=message).status_code == 204
    assert agent.client.get("/envs").json() == {"HOME": "/", "A": "1", "B": "2"}
    sandbox = agent.sandbox()
    assert sandbox.commands.run("echo $A $B; id -un; pwd").stdout == "1 2\nnobody\n/tmp\n"


def test_a_token_is_set_once(start_agent: Start) -> None:
    agent = start_agent(access_token=None)
    assert agent.client.post("/init", json={"accessToken": TOKEN}).status_code == 204
    assert httpx.get(f"{agent.url}/envs").status_code == 401
    assert agent.client.post("/init", json={"accessToken": "other"}).status_code == 401
    assert agent.client.post("/init").status_code == 204


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"envVars": 1}',
        b'{"envVars": {"a": 1}}',
        b'{"defaultUser": 1}',
        b"[" * 100_000,
    ],
)
def test_malformed_init(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/init", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (400, 400)


def test_too_large_an_init(client: httpx.Client) -> None:
    answer = client.post("/init", content=b" " * (5 << 20), headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (413, 413)


def test_metrics(start_agent: Start) -> None:
    agent = start_agent(cpu_count=3, memory_mb=256, disk_mb=1024)
    metrics = agent.client.get("/metrics").json()
    assert (metrics["cpu_count"], metrics["mem_total"], metrics["disk_total"]) == (3, 256 << 20, 1 << 30)
    assert 0 < metrics["mem_used"] <= metrics["mem_total"]
    assert metrics["mem_used_mib"] == metrics["mem_used"] >> 20
    assert metrics["mem_total_mib"] == 256
    assert 0 <= metrics["mem_cache"] <= metrics["mem_total"]
    assert 0 <= metrics["cpu_used_pct"] <= 100
    assert abs(metrics["ts"] - time.time()) < 60
    # The file system is shared with others: what it says is not what this sandbox wrote.
    assert "disk_used" not in metrics


def test_metrics_without_a_quota_are_of_the_file_system(start_agent: Start) -> None:
    metrics = start_agent().client.get("/metrics").json()
    assert 0 < metrics["disk_used"] < metrics["disk_total"]


def test_busy_processors_are_a_share_of_all(start_agent: Start) -> None:
    agent = start_agent(cpu_count=64)
    agent.client.get("/metrics")
    start(agent.client, "/bin/sh", "-c", "n=0; while [ $n -lt 200000 ]; do n=$((n+1)); done")
    # One of 64 was busy at most, and a fraction more, as the kernel counts in ticks.
    assert 0 < agent.client.get("/metrics").json()["cpu_used_pct"] < 5


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/none", 404), ("PUT", "/files", 405), ("POST", "/health", 405), ("GET", "/init", 405)],
)
def test_unknown_routes(client: httpx.Client, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, status)


def test_unknown_method(client: httpx.Client) -> None:
    answer = call(client, "process.Process/Reboot", {})
    assert (answer.status_code, answer.json()["code"]) == (404, "unimplemented")


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"1", b"\xff\xfe", b"null", b"", b'{"process": 1}', b"[" * 200_000, b'{"x":' * 99_999],
)
def test_malformed_calls(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/process.Process/SendSignal", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")


@pytest.mark.parametrize(
    "body",
    [
        struct.pack(">BI", 0, 5) + b"{nope",
        struct.pack(">BI", 0, 0xFFFFFFFF),
        struct.pack(">BI", 1, 2) + b"{}",
        struct.pack(">BI", 0, 100) + b"{",
        b"\0",
        b"",
        frame({}) + frame({}),
        frame({"process": []}),
    ],
)
def test_malformed_streams(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/process.Process/Start", content=body, headers=STREAM)
    assert answer.status_code == 200
    known = {"invalid_argument", "resource_exhausted", "unimplemented", "internal"}
    assert error(list(frames(answer)))["code"] in known
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/proto"}, 415),
        ({"content-type": "application/grpc"}, 415),
        (JSON | {"connect-timeout-ms": "soon"}, 400),
        (JSON | {"connect-timeout-ms": "9" * 11}, 400),
        (JSON | {"connect-protocol-version": "2"}, 400),
        (JSON | {"content-encoding": "gzip"}, 501),
    ],
)
def test_impossible_headers(client: httpx.Client, headers: dict[str, str], status: int) -> None:
    assert client.post(LIST, content=b"{}", headers=headers).status_code == status


def test_snake_case_numbers_and_unknown_fields_are_taken(client: httpx.Client) -> None:
    message = {"path": "/", "include_entry": True, "someday": {"x": 1}}
    answer = call(client, "filesystem.Filesystem/CreateWatcher", message)
    watcher = answer.json()["watcherId"]
    assert call(client, "filesystem.Filesystem/RemoveWatcher", {"watcher_id": watcher}).json() == {}


def test_url_alphabet_and_unpadded_base64(client: httpx.Client, agent: Agent) -> None:
    handle = agent.sandbox().commands.run("od -An -tx1", background=True, stdin=True)
    for text in "_-8", "/+8", "_-8=":
        call(client, "process.Process/SendInput", {"process": {"pid": handle.pid}, "input": {"stdin": text}})
    call(client, "process.Process/CloseStdin", {"process": {"pid": handle.pid}})
    assert handle.wait().stdout.split() == ["ff", "ef"] * 3


def test_a_head_without_end_is_refused(agent: Agent) -> None:
    assert raw(agent, b"GET /health HTTP/1.1\r\nX: " + b"x" * 100_000).startswith(b"HTTP/1.1 400 ")
    assert raw(agent, b"GET /" + b"x" * 100_000).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("data", [b"\0\r\n\r\n", b"GET\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n"])
def test_what_is_not_http(agent: Agent, data: bytes) -> None:
    assert raw(agent, data).startswith(b"HTTP/1.1 400 ")


def test_headers_that_are_not_utf8(agent: Agent) -> None:
    head = f"POST {LIST} HTTP/1.1\r\nHost: x\r\nX-Access-Token: {TOKEN}\r\nConnection: close\r\n".encode()
    body = b"Content-Type: application/json\r\nContent-Length: 2\r\nX-Odd: \xff\r\n\r\n{}"
    assert raw(agent, head + body).startswith(b"HTTP/1.1 200 ")


def test_connections_stay_open(agent: Agent) -> None:
    with httpx.Client(base_url=agent.url) as client:
        assert "connection" not in client.get("/health").headers


def test_the_log_is_json_lines(agent: Agent) -> None:
    start(agent.client, "/bin/echo", "said")
    lines = [json.loads(line) for line in agent.log.read_text().splitlines()]
    assert all({"timestamp", "level", "message"} <= set(line) for line in lines)
    assert any(line["message"] == "process ended" and line["status"] == "exit status 0" for line in lines)
