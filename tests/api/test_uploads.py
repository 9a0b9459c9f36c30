"""Links to which files for builds are sent, by clients that have no key there."""

import hashlib
import http.client
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import pytest

from berm.api.limits import MAX_BODY
from berm.api.links import LIFETIME, Link, Links
from berm.errors import BermError, Code
from tests.api.checks import check_error
from tests.conftest import Serve
from tests.fakes import FakeNode
from tests.serving import Served

HASH = hashlib.sha256(b"files").hexdigest()
OTHER = hashlib.sha256(b"others").hexdigest()


class BrokenNode(FakeNode):
    """Takes two pieces and then finds that they are no archive."""

    async def receive(self, name: str, body: AsyncIterator[bytes]) -> None:
        async for _ in body:
            raise BermError(Code.INVALID_ARGUMENT, "the archive is broken", "send a tar archive")


class ListeningNode(FakeNode):
    """Notes how an upload ended."""

    how = ""

    async def receive(self, name: str, body: AsyncIterator[bytes]) -> None:
        try:
            await super().receive(name, body)
        except BaseException as error:
            self.how = type(error).__name__
            raise


def link(served: Served, files_hash: str = HASH) -> str:
    response = served.client.get(f"/templates/base/files/{files_hash}")
    assert response.status_code == 201
    return str(response.json()["url"])


def put(url: str, body: bytes) -> httpx.Response:
    """As the SDKs do: without a key."""
    return httpx.put(url, content=body)


def test_a_link_takes_files_without_a_key(served: Served) -> None:
    asked = served.client.get(f"/templates/base/files/{HASH}")
    assert asked.status_code == 201
    assert asked.json()["present"] is False
    url = asked.json()["url"]
    assert url.startswith(f"{served.url}/uploads/{HASH}?")
    assert put(url, b"content").status_code == 200
    assert served.node.received == {f"{served.team_id}-{HASH}": b"content"}
    again = served.client.get(f"/templates/base/files/{HASH}").json()
    assert again["present"] is True
    assert put(again["url"], b"new content").status_code == 200
    assert served.node.received == {f"{served.team_id}-{HASH}": b"new content"}


def test_the_link_leads_where_the_client_came_from(served: Served) -> None:
    response = served.client.get(f"/templates/base/files/{HASH}", headers={"Host": "berm.example:8443"})
    assert response.json()["url"].startswith(f"http://berm.example:8443/uploads/{HASH}?")


def test_an_upload_may_be_larger_than_other_bodies(served: Served) -> None:
    body = bytes(range(256)) * (MAX_BODY // 128)
    assert put(link(served), body).status_code == 200
    assert served.node.received[f"{served.team_id}-{HASH}"] == body


def test_a_link_is_for_one_hash_one_team_and_as_it_was_made(served: Served) -> None:
    url = link(served)
    query = dict(httpx.URL(url).params)
    wrong = [
        url.replace(HASH, OTHER),
        url.replace(query["team"], "other-team"),
        url.replace(query["expires"], str(int(query["expires"]) + 1)),
        url.replace(query["signature"], "0" * 64),
        url.replace(query["signature"], "%C3%BC"),
        url.partition("&signature")[0],
        url.partition("?")[0],
    ]
    for changed in wrong:
        assert changed != url
        check_error(put(changed, b"content"), 403, "the upload link is not one of this server")
    assert not served.node.received


def test_a_link_grows_old() -> None:
    time = 1000.0
    links = Links(lambda: time)
    query = Link.model_validate(dict(httpx.URL(links.make("team", HASH)).params))
    time += LIFETIME
    links.check(query, HASH)
    time += 1
    with pytest.raises(BermError, match="too old") as failure:
        links.check(query, HASH)
    assert failure.value.code is Code.PERMISSION_DENIED


def test_a_link_of_another_server_is_refused() -> None:
    query = Link.model_validate(dict(httpx.URL(Links().make("team", HASH)).params))
    with pytest.raises(BermError, match="not one of this server"):
        Links().check(query, HASH)


class WrongNode(FakeNode):
    """Fails in a way that nobody foresaw."""

    async def receive(self, name: str, body: AsyncIterator[bytes]) -> None:
        raise ZeroDivisionError


def test_a_failure_is_logged_without_the_link(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    served = serve(WrongNode())
    check_error(put(link(served), b"content"), 500, "unexpected ZeroDivisionError")
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("berm")]
    assert any(f"/uploads/{HASH}" in message for message in ours)
    assert "signature" not in " ".join(ours)


def test_a_refused_client_may_finish_and_go_on(served: Served) -> None:
    """Half of the body is sent when the refusal is already known; the rest must not break the connection."""
    path = link(served, OTHER).removeprefix(served.url).replace(OTHER, HASH)
    address = urlsplit(served.url)
    head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n"
    with socket.create_connection((str(address.hostname), address.port or 0)) as client:
        client.sendall(head.encode() + b"0123456789")
        assert served.client.get("/health").status_code == 204
        client.sendall(b"0123456789")
        refused = http.client.HTTPResponse(client)
        refused.begin()
        assert (refused.status, b"not one of this server" in refused.read()) == (403, True)
        client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        again = http.client.HTTPResponse(client)
        again.begin()
        assert again.status == 204


def test_an_upload_has_a_length(served: Served) -> None:
    response = httpx.put(link(served), content=iter([b"content"]))
    check_error(response, 411, "no Content-Length")
    assert not served.node.received


@pytest.fixture
def small(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Served:
    """Takes uploads of 1 MiB at most."""
    served = serve(FakeNode())
    object.__setattr__(served.control.config, "max_upload_mb", 1)
    return served


def test_an_upload_has_an_end(small: Served) -> None:
    assert put(link(small), b"x" * 1024 * 1024).status_code == 200
    with sent(small, "Content-Length: 1048577", b"x") as response:
        assert response.status == 413
        assert b"at most 1 MiB are taken" in response.read()


def test_what_the_node_does_not_take_is_said(serve: Serve) -> None:
    served = serve(BrokenNode())
    check_error(put(link(served), b"no archive"), 400, "the archive is broken (send a tar archive)")


def test_a_client_that_leaves_in_the_middle_leaves_nothing(serve: Serve) -> None:
    node = ListeningNode()
    served = serve(node)
    address = urlsplit(served.url)
    with socket.create_connection((str(address.hostname), address.port or 0)) as client:
        path = link(served).removeprefix(served.url)
        client.sendall(f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nonly this".encode())
    while not node.how:
        served.client.get("/health")
    assert node.how == "ClientDisconnect"
    assert not node.received


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/templates/none/files/" + HASH, 404, "template 'none' not found"),
        ("/templates/base/files/" + HASH[1:], 400, "which is not a SHA-256 in hex"),
        ("/templates/base/files/..%2F" + HASH, 400, "which is not a SHA-256 in hex"),
        ("/templates/base/files/" + HASH.upper(), 400, "which is not a SHA-256 in hex"),
    ],
)
def test_what_has_no_link(untouched: Served, path: str, status: int, message: str) -> None:
    check_error(untouched.client.get(path), status, message)


def test_another_team_has_files_of_its_own(served: Served) -> None:
    put(link(served), b"content")
    with served.connect(served.other_team_key()) as stranger:
        check_error(stranger.get(f"/templates/base/files/{HASH}"), 403, "belongs to another team")
        made = stranger.post("/v3/templates", json={"name": "theirs"}).json()
        found = stranger.get(f"/templates/{made['templateID']}/files/{HASH}").json()
    assert found["present"] is False


@contextmanager
def sent(served: Served, header: str, body: bytes) -> Iterator[http.client.HTTPResponse]:
    """The answer to an upload with a header of our own, of which only `body` is sent."""
    address = urlsplit(served.url)
    with socket.create_connection((str(address.hostname), address.port or 0)) as client:
        path = link(served).removeprefix(served.url)
        client.sendall(f"PUT {path} HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode() + body)
        response = http.client.HTTPResponse(client)
        response.begin()
        yield response
