"""What is in a volume over HTTP: who may, what is answered, and errors with a body of their own."""

import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from berm.api.limits import MAX_BODY
from berm.api.volumecontent import as_json
from berm.models import VolumeEntry
from tests.conftest import Serve
from tests.fakes import FakeNode
from tests.serving import Served

pytestmark = pytest.mark.root


class Client:
    """Who has the token of a volume."""

    def __init__(self, served: Served, name: str = "one") -> None:
        made = served.client.post("/volumes", json={"name": name}).json()
        self.url = f"{served.url}/volumecontent/{made['volumeID']}"
        self.volume_id, self.token = made["volumeID"], made["token"]

    def __call__(self, method: str, call: str, path: str | None = None, **options: Any) -> httpx.Response:
        query = {} if path is None else {"path": path}
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        parameters = {**query, **options.pop("query", {})}
        return httpx.request(
            method, f"{self.url}/{call}", params=parameters, headers=headers, trust_env=False, **options
        )


@pytest.fixture
def served(serve: Serve, tmp_path: Path) -> Served:
    return serve(FakeNode(tmp_path))


@pytest.fixture
def client(served: Served) -> Client:
    return Client(served)


@pytest.fixture
def tree(client: Client, tmp_path: Path) -> Path:
    return tmp_path / f"volumes/{client.volume_id}/tree"


def check(response: httpx.Response, status: int, code: str, message: str = "") -> None:
    assert response.status_code == status, response.text
    body = response.json()
    assert (sorted(body), body["code"]) == (["code", "message"], code)
    assert message in body["message"]


def test_a_file_from_its_making_to_its_end(client: Client) -> None:
    made = client("PUT", "file", "d/a", content=b"hello", query={"force": "true", "mode": "416", "uid": "5"})
    assert made.status_code == 201
    entry = made.json()
    for name in ("atime", "mtime", "ctime"):
        assert datetime.fromisoformat(entry.pop(name)).tzinfo
    assert entry == {
        "name": "a",
        "type": "file",
        "path": "/d/a",
        "size": 5,
        "mode": 0o640,
        "uid": 5,
        "gid": 1000,
    }
    read = client("GET", "file", "/d/a")
    assert (read.status_code, read.content) == (200, b"hello")
    assert read.headers["content-type"] == "application/octet-stream"
    assert client("GET", "path", "d/a").json()["size"] == 5
    changed = client("PATCH", "path", "d/a", json={"mode": 0o600, "gid": 7})
    assert (changed.status_code, changed.json()["mode"], changed.json()["gid"]) == (200, 0o600, 7)
    assert client("PATCH", "path", "d/a", json={}).json()["mode"] == 0o600
    assert [entry["path"] for entry in client("GET", "dir", "/", query={"depth": "2"}).json()] == [
        "/d",
        "/d/a",
    ]
    removed = client("DELETE", "path", "d")
    assert (removed.status_code, removed.content) == (204, b"")
    assert client("GET", "dir", "/").json() == []


def test_a_directory_and_a_link(client: Client, tree: Path) -> None:
    made = client("POST", "dir", "a/b", query={"force": "true", "uid": "1", "gid": "2", "mode": "448"})
    assert made.status_code == 201
    assert [made.json()[key] for key in ("type", "uid", "gid", "mode")] == ["directory", 1, 2, 0o700]
    (tree / "link").symlink_to("a/b")
    link = client("GET", "path", "link").json()
    assert (link["type"], link["target"]) == ("symlink", "a/b")
    assert "target" not in client("GET", "path", "/").json()


REFUSED: list[tuple[str, str, str | None, dict[str, Any], int, str]] = [
    ("GET", "path", "none", {}, 404, "not_found"),
    ("GET", "file", "none", {}, 404, "not_found"),
    ("GET", "dir", "none", {}, 404, "not_found"),
    ("DELETE", "path", "none", {}, 404, "not_found"),
    ("PATCH", "path", "none", {"json": {"mode": 1}}, 404, "not_found"),
    ("PUT", "file", "none/a", {"content": b""}, 404, "not_found"),
    ("POST", "dir", "none/a", {}, 404, "not_found"),
    ("GET", "path", None, {}, 400, "invalid_argument"),
    ("GET", "path", "", {}, 400, "invalid_argument"),
    ("GET", "path", "a\0", {}, 400, "invalid_argument"),
    ("GET", "path", "a" * 5000, {}, 400, "invalid_argument"),
    ("GET", "file", "d", {}, 400, "invalid_argument"),
    ("GET", "dir", "f", {}, 400, "invalid_argument"),
    ("GET", "dir", "d", {"query": {"depth": "0"}}, 400, "invalid_argument"),
    ("GET", "dir", "d", {"query": {"depth": "x"}}, 400, "invalid_argument"),
    ("GET", "dir", "d", {"query": {"depth": str(1 << 32)}}, 400, "invalid_argument"),
    ("PUT", "file", "d", {"content": b""}, 400, "invalid_argument"),
    ("PUT", "file", "f", {"content": b"", "query": {"force": "false"}}, 409, "conflict"),
    ("PUT", "file", "f", {"content": b"", "query": {"mode": "4096"}}, 400, "invalid_argument"),
    ("PUT", "file", "f", {"content": b"", "query": {"uid": "65536"}}, 400, "invalid_argument"),
    ("PUT", "file", "f", {"content": b"", "query": {"gid": "-1"}}, 400, "invalid_argument"),
    ("PUT", "file", "f", {"content": b"", "query": {"force": "perhaps"}}, 400, "invalid_argument"),
    ("POST", "dir", "d", {}, 409, "conflict"),
    ("POST", "dir", "/", {}, 409, "conflict"),
    ("DELETE", "path", "/", {}, 409, "conflict"),
    ("PATCH", "path", "f", {"json": {"mode": "0644"}}, 400, "invalid_argument"),
    ("PATCH", "path", "f", {"json": {"uid": 1 << 32}}, 400, "invalid_argument"),
    ("PATCH", "path", "f", {"json": [1]}, 400, "invalid_argument"),
    ("PATCH", "path", "f", {"content": b"{"}, 400, "invalid_argument"),
    ("PATCH", "path", "f", {}, 400, "invalid_argument"),
]


@pytest.mark.parametrize("refused", REFUSED)
def test_what_is_refused(
    client: Client, tree: Path, refused: tuple[str, str, str | None, dict[str, Any], int, str]
) -> None:
    method, call, path, options, status, code = refused
    (tree / "d").mkdir()
    (tree / "f").write_text("as it was")
    check(client(method, call, path, **options), status, code)
    assert (tree / "f").read_text() == "as it was"
    assert sorted(os.listdir(tree)) == ["d", "f"]  # noqa: PTH208


CALLS = [
    ("GET", "path"),
    ("PATCH", "path"),
    ("DELETE", "path"),
    ("GET", "dir"),
    ("POST", "dir"),
    ("GET", "file"),
    ("PUT", "file"),
]


@pytest.mark.parametrize(("method", "call"), CALLS)
def test_only_the_volumes_own_token_opens_it(
    served: Served, client: Client, tree: Path, method: str, call: str
) -> None:
    other = Client(served, "other")
    (tree / "a").write_text("mine")
    for headers in (
        {"Authorization": f"Bearer {other.token}"},
        {"Authorization": f"Bearer {served.key}"},
        {"Authorization": f"Bearer {client.token}x"},
        {"Authorization": f"Bearer {client.token[:-1]}"},
        {"Authorization": f"Basic {client.token}"},
        {"Authorization": "Bearer \u00fc".encode("latin-1")},
        {"Authorization": "Bearer"},
        {"Authorization": "", "X-API-Key": served.key},
    ):
        check(client(method, call, "a", headers=headers), 401, "unauthenticated")
        # Nobody else learns whether there is such a path, or how a request has to be.
        check(client(method, call, "none/x", headers=headers), 401, "unauthenticated")
    assert (tree / "a").read_text() == "mine"
    served.client.delete(f"/volumes/{client.volume_id}")
    check(client(method, call, "a", json={}), 404, "not_found", "volume")


def test_a_stranger_is_refused_before_he_has_sent_much(client: Client) -> None:
    client.token = "none"
    check(client("PUT", "file", "a", content=bytes(100_000)), 401, "unauthenticated")


RANGES = {
    "bytes=0-": (206, "bytes 0-9/10", b"0123456789"),
    "bytes=2-4": (206, "bytes 2-4/10", b"234"),
    "bytes=7-99": (206, "bytes 7-9/10", b"789"),
    "bytes=-3": (206, "bytes 7-9/10", b"789"),
    "bytes=-99": (206, "bytes 0-9/10", b"0123456789"),
    "bytes=10-": (416, "bytes */10", b""),
    "bytes=-0": (416, "bytes */10", b""),
    "bytes=5-2": (200, None, b"0123456789"),
    "bytes=0-1,3-4": (200, None, b"0123456789"),
    "lines=1-2": (200, None, b"0123456789"),
    "bytes=-": (200, None, b"0123456789"),
    "bytes=x": (200, None, b"0123456789"),
}


@pytest.mark.parametrize("wanted", RANGES)
def test_a_part_of_a_file(client: Client, tree: Path, wanted: str) -> None:
    (tree / "a").write_bytes(b"0123456789")
    part = client("GET", "file", "a", headers={"Range": wanted})
    assert (part.status_code, part.headers.get("content-range"), part.content) == RANGES[wanted]


def test_an_empty_file(client: Client, tree: Path) -> None:
    (tree / "a").touch()
    assert client("GET", "file", "a").content == b""
    assert client("GET", "file", "a", headers={"Range": "bytes=0-"}).status_code == 416


def test_a_large_file_in_pieces(client: Client, tree: Path) -> None:
    data = os.urandom(1 << 16) * 12

    def pieces() -> Any:
        for begin in range(0, len(data), 50_000):
            yield data[begin : begin + 50_000]

    assert len(data) < 1 << 20 and len(data) * 2 > MAX_BODY
    assert client("PUT", "file", "a", content=pieces()).status_code == 201
    assert client("PUT", "file", "b", content=data).json()["size"] == len(data)
    assert (tree / "a").read_bytes() == data == client("GET", "file", "a").content


def test_a_full_volume(client: Client, tree: Path) -> None:
    check(client("PUT", "file", "a", content=bytes((1 << 20) + 1)), 507, "no_space", "/a: a volume holds")
    assert not (tree / "a").exists()


def test_a_file_that_shrinks_while_it_is_sent_is_not_taken_for_whole(client: Client, tree: Path) -> None:
    (tree / "a").write_bytes(b"x" * 50_000_000)
    url = urlsplit(client.url)
    with socket.create_connection((url.hostname, url.port)) as peer:
        head = (
            f"GET {url.path}/file?path=a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {client.token}\r\n\r\n"
        )
        peer.sendall(head.encode())
        received = len(peer.recv(1000))
        os.truncate(tree / "a", 10_000_000)
        while piece := peer.recv(1 << 20):
            received += len(piece)
    assert received < 50_000_000


def test_an_upload_that_breaks_off_changes_nothing(client: Client, tree: Path) -> None:
    (tree / "a").write_text("whole")
    url = urlsplit(client.url)
    with socket.create_connection((url.hostname, url.port)) as peer:
        head = (
            f"PUT {url.path}/file?path=a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {client.token}\r\n"
            "Content-Length: 1000\r\n\r\nhalf"
        )
        peer.sendall(head.encode())
        while not list(tree.parent.glob("coming/*")):
            pass
    while list(tree.parent.glob("coming/*")):
        pass
    assert (tree / "a").read_text() == "whole"


def test_names_that_are_no_text(client: Client, tree: Path) -> None:
    raw = os.fsencode(tree) + b"/\xff"
    with open(raw, "w") as file:
        file.write("odd")
    os.symlink(b"\xfe", raw + b"-link")  # noqa: PTH211
    listed = client("GET", "dir", "/").json()
    assert [(entry["name"], entry["path"]) for entry in listed] == [("?", "/?"), ("?-link", "/?-link")]
    url = f"{client.url}/file?path=%ff"
    read = httpx.get(url, headers={"Authorization": f"Bearer {client.token}"}, trust_env=False)
    assert read.content == b"odd"
    check(client("GET", "path", "\u00fc"), 404, "not_found", "/\u00fc")


def test_a_time_that_no_calendar_has(client: Client, tree: Path) -> None:
    (tree / "a").touch()
    os.utime(tree / "a", (1 << 33, -(1 << 31)))
    assert client("GET", "path", "a").json()["mtime"] == "1901-12-13T20:45:52Z"


def test_other_calls_are_none(served: Served, client: Client) -> None:
    for method, call in (("POST", "path"), ("DELETE", "dir"), ("DELETE", "file"), ("GET", "x")):
        assert client(method, call, "a").status_code in (404, 405)
    assert served.client.get("/volumecontent").status_code == 404


@pytest.mark.parametrize("target", ["x" * 4000, "\u0001" * 4000])
async def test_a_listing_is_written_in_pieces_however_long_its_names_are(target: str) -> None:
    moment = datetime(2000, 1, 1, tzinfo=UTC)
    found = [
        VolumeEntry(f"/{number}", "symlink", 0, 0, 0, 0, moment, moment, moment, target)
        for number in range(600)
    ]
    pieces = [piece async for piece in as_json(found)]
    assert max(map(len, pieces)) < 200_000
    assert [entry["path"] for entry in json.loads("".join(pieces))] == [entry.path for entry in found]
    assert "".join([piece async for piece in as_json([])]) == "[]"
