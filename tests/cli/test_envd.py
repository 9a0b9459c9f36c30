import struct

import pytest

from berm.cli.envd import Agent, FrameParser, frame
from berm.errors import BermError, Code
from tests.cli.standin import JSON, StandIn, answer, stream

END = struct.pack(">BI", 2, 2) + b"{}"


def test_frames_come_out_however_the_bytes_are_cut() -> None:
    data = frame({"a": 1}) + frame({"b": "é"}) + END
    for size in (1, 3, 7, len(data)):
        parser = FrameParser()
        pieces = (data[at : at + size] for at in range(0, len(data), size))
        assert [message for piece in pieces for message in parser.feed(piece)] == [{"a": 1}, {"b": "é"}]
        assert parser.ended


def test_a_length_over_the_limit_is_refused_before_the_body_comes() -> None:
    with pytest.raises(BermError) as caught:
        list(FrameParser(limit=10).feed(struct.pack(">BI", 0, 11)))
    assert caught.value.code is Code.TOO_LARGE


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b"\xff", b'{"a":' * 100_000])
def test_a_frame_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(BermError) as caught:
        list(FrameParser().feed(struct.pack(">BI", 0, len(body)) + body))
    assert caught.value.code is Code.INTERNAL


def agent(server: StandIn, user: str = "") -> Agent:
    return Agent(server.url, "i1", "secret", user)


def test_every_call_names_sandbox_port_token_and_user(server: StandIn) -> None:
    server.on("POST /process.Process/List", answer(200, {}))
    with agent(server, "root") as client:
        client.call("process.Process/List", {})
    headers = server.calls[0].headers
    assert headers["e2b-sandbox-id"] == "i1"
    assert headers["e2b-sandbox-port"] == "49983"
    assert headers["x-access-token"] == "secret"
    assert headers["authorization"] == "Basic cm9vdDo="
    assert headers["connect-protocol-version"] == "1"


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (404, {"code": "not_found", "message": "no process"}, Code.NOT_FOUND),
        (429, {"code": "resource_exhausted", "message": "no"}, Code.RATE_LIMITED),
        (500, {"code": "something_new", "message": "no"}, Code.INTERNAL),
        (502, {"sandboxId": "i1", "code": 502, "message": "The sandbox was not found"}, Code.UNAVAILABLE),
    ],
)
def test_unary_errors(server: StandIn, status: int, body: dict[str, object], code: Code) -> None:
    server.on("POST /process.Process/List", answer(status, body))
    with agent(server) as client, pytest.raises(BermError) as caught:
        client.call("process.Process/List", {})
    assert (caught.value.code, caught.value.message) == (code, body["message"])


def test_a_stream_gives_its_messages_and_then_its_error(server: StandIn) -> None:
    error = {"error": {"code": "not_found", "message": "process with pid 1 not found"}}
    server.on("POST /process.Process/Connect", stream({"n": 1}, end=error))
    seen: list[JSON] = []
    with agent(server) as client, pytest.raises(BermError) as caught:
        seen.extend(client.stream("process.Process/Connect", {"process": {"pid": 1}}))
    assert seen == [{"n": 1}]
    assert caught.value.code is Code.NOT_FOUND
    assert server.calls[0].body == frame({"process": {"pid": 1}})
    assert server.calls[0].headers["content-type"] == "application/connect+json"


def test_a_stream_that_breaks_off_is_an_error(server: StandIn) -> None:
    server.on("POST /process.Process/Start", stream({"n": 1}))
    with agent(server) as client, pytest.raises(BermError) as caught:
        list(client.stream("process.Process/Start", {}))
    assert caught.value.code is Code.UNAVAILABLE


def test_the_gateways_refusal_of_a_stream(server: StandIn) -> None:
    server.on(
        "POST /process.Process/Start", answer(502, {"code": 502, "message": "The sandbox was not found"})
    )
    with agent(server) as client, pytest.raises(BermError, match="was not found") as caught:
        list(client.stream("process.Process/Start", {}))
    assert caught.value.code is Code.UNAVAILABLE


def test_files_go_both_ways(server: StandIn) -> None:
    server.on("POST /files", answer(200, []))
    server.on("GET /files", answer(200, "content"))
    with agent(server, "bob") as client:
        client.write("/tmp/a b", iter([b"one", b"two"]))
        with client.read("~/c") as response:
            assert response.read() == b'"content"'
    put, got = server.calls
    assert put.query == {"path": ["/tmp/a b"], "username": ["bob"]}
    assert put.body == b"onetwo"
    assert put.headers["content-type"] == "application/octet-stream"
    assert got.query == {"path": ["~/c"], "username": ["bob"]}
