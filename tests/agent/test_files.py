import gzip
import io
import os
import time
from pathlib import Path

import httpx
import pytest
from e2b import (
    AuthenticationException,
    FileNotFoundException,
    InvalidArgumentException,
    NotEnoughSpaceException,
    Sandbox,
)

from berm.agent.signatures import sign
from tests.agent.conftest import TOKEN, Agent
from tests.agent.processes import open_files, private_memory

pytestmark = pytest.mark.root

BIG = os.urandom(1 << 20) * 8


@pytest.mark.parametrize("octets", [True, False])
def test_write_and_read(sandbox: Sandbox, tmp_path: Path, octets: bool) -> None:
    path = tmp_path / "new" / "deeper" / 'ünï "code".txt'
    info = sandbox.files.write(str(path), "tëxt", user="nobody", use_octet_stream=octets)
    assert (info.name, info.path) == (path.name, str(path))
    assert sandbox.files.read(str(path)) == "tëxt"
    made = (path.stat(), path.parent.stat())
    assert [(status.st_uid, status.st_gid) for status in made] == [(65534, 65534)] * 2
    assert [status.st_mode & 0o777 for status in made] == [0o644, 0o755]


def test_many_files_in_one_request(sandbox: Sandbox, tmp_path: Path) -> None:
    names = ["a.txt", "sub dir/b.txt", "süb/ç.txt", "sub/%41.txt"]
    written = sandbox.files.write_files(
        [{"path": str(tmp_path / name), "data": name.encode()} for name in names]
    )
    assert [info.path for info in written] == [str(tmp_path / name) for name in names]
    assert [(tmp_path / name).read_text() for name in names] == names


def test_relative_paths_begin_at_home(sandbox: Sandbox) -> None:
    name = f".berm-test-{time.time_ns()}"
    info = sandbox.files.write(name, "x")
    try:
        assert info.path == f"/root/{name}"
        assert sandbox.files.read(f"~/{name}") == "x"
    finally:
        sandbox.files.remove(name)


def test_overwriting_truncates(sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("long content")
    sandbox.files.write(str(path), "x")
    assert path.read_text() == "x"


def test_streamed_and_gzipped_upload(sandbox: Sandbox, tmp_path: Path) -> None:
    for name, zipped in ("plain", False), ("zipped", True):
        path = tmp_path / name
        sandbox.files.write(str(path), io.BytesIO(BIG), gzip=zipped)
        assert path.read_bytes() == BIG


def test_gzip_of_several_members(client: httpx.Client, tmp_path: Path) -> None:
    body = gzip.compress(b"one ") + gzip.compress(b"two")
    headers = {"content-type": "application/octet-stream", "content-encoding": "gzip"}
    answer = client.post("/files", params={"path": str(tmp_path / "f")}, content=body, headers=headers)
    assert answer.status_code == 200
    assert (tmp_path / "f").read_text() == "one two"


@pytest.mark.parametrize("body", [b"not gzip", gzip.compress(b"whole", mtime=0)[:-4], b""])
def test_broken_gzip(client: httpx.Client, tmp_path: Path, body: bytes) -> None:
    headers = {"content-type": "application/octet-stream", "content-encoding": "gzip"}
    answer = client.post("/files", params={"path": str(tmp_path / "f")}, content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, 400)


def test_a_gzip_bomb_takes_no_memory(agent: Agent, tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(300 << 20))
    before = private_memory(agent.pid)
    headers = {"content-type": "application/octet-stream", "content-encoding": "gzip"}
    path = tmp_path / "bomb"
    agent.client.post("/files", params={"path": str(path)}, content=bomb, headers=headers).raise_for_status()
    assert path.stat().st_size == 300 << 20
    path.unlink()
    assert private_memory(agent.pid) - before < 16 << 20


def test_memory_does_not_grow_with_files(agent: Agent, sandbox: Sandbox, tmp_path: Path) -> None:
    path = str(tmp_path / "big")
    sandbox.files.write(path, BIG)
    before = private_memory(agent.pid)
    sandbox.files.write(path, BIG * 8)
    assert sandbox.files.read(path, format="bytes") == BIG * 8
    assert private_memory(agent.pid) - before < 4 << 20


def test_missing_file(sandbox: Sandbox) -> None:
    with pytest.raises(FileNotFoundException, match="'/no/such' does not exist"):
        sandbox.files.read("/no/such")


def test_what_is_no_regular_file(client: httpx.Client, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in "/tmp", "/dev/zero", str(tmp_path / "fifo"), "":
        answer = client.get("/files", params={"path": path})
        assert (answer.status_code, answer.json()["code"]) == (400, 400), path
    for path in "/tmp", "/dev/full", str(tmp_path / "fifo"), "/etc/passwd/x":
        answer = client.post("/files", params={"path": path}, files={"file": b"x"})
        assert answer.status_code == 400, path


@pytest.mark.parametrize("path", ["a\0b", "~nobody/x"])
def test_impossible_paths(sandbox: Sandbox, path: str) -> None:
    with pytest.raises(InvalidArgumentException):
        sandbox.files.write(path, "x")
    with pytest.raises(InvalidArgumentException):
        sandbox.files.read(path)


def test_unknown_user(sandbox: Sandbox) -> None:
    with pytest.raises(AuthenticationException, match="error looking up user 'stranger': user: unknown user"):
        sandbox.files.read("/etc/passwd", user="stranger")


def test_empty_file_says_so(client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    answer = client.get("/files", params={"path": str(tmp_path / "empty")})
    assert (answer.content, answer.headers["content-length"]) == (b"", "0")


def test_files_of_proc_are_read_to_their_end(sandbox: Sandbox) -> None:
    assert "MemTotal" in sandbox.files.read("/proc/meminfo")


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", "gzip"),
        ("gzip, deflate, br", None),
        ("identity", None),
        ("gzip;q=1, identity;q=0", "gzip"),
        ("*;q=0.5", None),
        ("br", None),
    ],
)
def test_encoding(client: httpx.Client, tmp_path: Path, accepted: str, encoding: str | None) -> None:
    (tmp_path / "f").write_bytes(BIG)
    answer = client.get("/files", params={"path": str(tmp_path / "f")}, headers={"accept-encoding": accepted})
    assert answer.headers.get("content-encoding") == encoding
    assert answer.content == BIG


def test_no_acceptable_encoding(client: httpx.Client) -> None:
    headers = {"accept-encoding": "br, identity;q=0"}
    answer = client.get("/files", params={"path": "/etc/passwd"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (406, 406)


def test_sdk_asks_for_gzip(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(BIG)
    assert sandbox.files.read(str(tmp_path / "f"), format="bytes", gzip=True) == BIG


@pytest.mark.parametrize(
    ("asked", "status", "content", "position"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=8-", 206, b"89", "bytes 8-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"),
        ("bytes=5-4", 200, b"0123456789", None),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("lines=0-1", 200, b"0123456789", None),
        ("bytes=" + "9" * 5000 + "-", 416, b"", "bytes */10"),
    ],
)
def test_ranges(  # noqa: PLR0917
    client: httpx.Client, tmp_path: Path, asked: str, status: int, content: bytes, position: str | None
) -> None:
    (tmp_path / "f").write_text("0123456789")
    answer = client.get("/files", params={"path": str(tmp_path / "f")}, headers={"range": asked})
    assert (answer.status_code, answer.content) == (status, content)
    assert answer.headers.get("content-range") == position


def test_conditions(client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("0123456789")
    params = {"path": str(tmp_path / "f")}
    first = client.get("/files", params=params)
    etag, modified = first.headers["etag"], first.headers["last-modified"]

    def status(**headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return client.get("/files", params=params, headers=named).status_code

    assert status(if_none_match=etag) == 304
    assert status(if_none_match='"other"') == 200
    assert status(if_modified_since=modified) == 304
    assert status(if_modified_since="Thu, 01 Jan 1970 00:00:00 GMT") == 200
    assert status(if_modified_since="nonsense") == 200
    assert status(if_match='"other"') == 412
    assert status(if_unmodified_since="Thu, 01 Jan 1970 00:00:00 GMT") == 412
    assert status(range="bytes=0-1", if_range=etag) == 206
    assert status(range="bytes=0-1", if_range='"other"') == 200


def test_head(client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("0123456789")
    answer = client.head("/files", params={"path": str(tmp_path / "f")})
    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "10", b"")


def test_metadata(sandbox: Sandbox, tmp_path: Path) -> None:
    path = str(tmp_path / "f")
    info = sandbox.files.write(path, "x", metadata={"Author": "someone", "stage": "one two"})
    assert info.metadata == {"author": "someone", "stage": "one two"}
    assert os.getxattr(path, "user.e2b.author") == b"someone"
    os.setxattr(path, "user.e2b.other", b"elsewhere")
    os.setxattr(path, "user.foreign", b"kept")
    known = sandbox.files.get_info(path).metadata
    assert known == {"author": "someone", "stage": "one two", "other": "elsewhere"}
    sandbox.files.write(path, "y", metadata={"stage": "three"})
    assert sandbox.files.get_info(path).metadata == {"stage": "three"}
    assert sandbox.files.write(path, "z").metadata is None
    assert os.listxattr(path) == ["user.foreign"]


@pytest.mark.parametrize(
    "headers",
    [
        {"x-metadata-k": "v" * 5000},
        {"x-metadata-" + "k" * 247: "v"},
        {"x-metadata-k": "tab\there"},
        {"x-metadata-k": "é".encode()},
        {f"x-metadata-{number}": "v" * 100 for number in range(40)},
    ],
)
def test_metadata_that_cannot_be_kept(
    client: httpx.Client, tmp_path: Path, headers: dict[str, str | bytes]
) -> None:
    encoded = {
        name.encode(): value if isinstance(value, bytes) else value.encode()
        for name, value in headers.items()
    }
    path = tmp_path / "f"
    answer = client.post(
        "/files",
        params={"path": str(path)},
        content=b"x",
        headers={b"content-type": b"application/octet-stream"} | encoded,
    )
    assert (answer.status_code, answer.json()["code"]) == (400, 400)
    assert not path.exists()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain", b"x"),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"x"),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\nx\r\n--b--\r\n",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name=file; filename="a"',
        ),
        ("multipart/form-data; boundary=b", b"--b\r\n" + b"H: x\r\n" * 10_000),
        ("application/octet-stream", b"no path"),
    ],
)
def test_malformed_uploads(agent: Agent, kind: str, body: bytes) -> None:
    before = open_files(agent.pid)
    answer = agent.client.post("/files", content=body, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["code"]) == (400, 400)
    assert open_files(agent.pid) == before


def test_a_client_that_leaves_midway(agent: Agent, tmp_path: Path) -> None:
    before = open_files(agent.pid)
    path = tmp_path / "half"

    def body() -> object:
        yield b"x" * 100_000
        while not path.exists() or not path.stat().st_size:
            pass
        raise ConnectionError

    with (
        httpx.Client(base_url=agent.url, headers=agent.client.headers) as leaving,
        pytest.raises(ConnectionError),
    ):
        leaving.post(
            "/files",
            params={"path": str(path)},
            content=body(),  # type: ignore[arg-type]
            headers={"content-type": "application/octet-stream"},
        )
    assert agent.client.get("/health").status_code == 204
    while open_files(agent.pid) > before:
        time.sleep(0.01)


def test_compose(client: httpx.Client, tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_text(name * 3)
    message = {
        "source_paths": [str(tmp_path / name) for name in "abc"],
        "destination": str(tmp_path / "a"),
        "username": "nobody",
    }
    answer = client.post("/files/compose", json=message)
    assert answer.json() == {"name": "a", "path": str(tmp_path / "a"), "type": "file"}
    assert (tmp_path / "a").read_text() == "aaabbbccc"
    assert (tmp_path / "a").stat().st_uid == 65534
    assert os.listdir(tmp_path) == ["a"]


def test_compose_of_something_missing_changes_nothing(client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    message = {"source_paths": [str(tmp_path / "a"), str(tmp_path / "b")], "destination": str(tmp_path / "c")}
    assert client.post("/files/compose", json=message).status_code == 404
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"source_paths": [], "destination": "/x"},
        {"source_paths": [1], "destination": "/x"},
        {"source_paths": ["/a"]},
    ],
)
def test_malformed_compose(client: httpx.Client, message: dict[str, object]) -> None:
    assert client.post("/files/compose", json=message).status_code == 400


def test_signed_urls_of_the_sdk(agent: Agent, sandbox: Sandbox, tmp_path: Path) -> None:
    path = str(tmp_path / "sïgned")
    with httpx.Client() as stranger:
        up = sandbox.upload_url(path, use_signature_expiration=100).replace(
            sandbox.envd_direct_url, agent.url
        )
        assert stranger.post(up, files={"file": b"signed"}).status_code == 200
        down = sandbox.download_url(path).replace(sandbox.envd_direct_url, agent.url)
        assert stranger.get(down).content == b"signed"
        assert stranger.get(up).json()["message"] == "invalid signature"


@pytest.mark.parametrize(
    ("signature", "expiration", "message"),
    [
        (None, None, "missing signature query parameter"),
        ("v1_wrong", None, "invalid signature"),
        (sign("/etc/passwd", "write", "", TOKEN), None, "invalid signature"),
        (sign("/etc/passwd", "read", "root", TOKEN), None, "invalid signature"),
        (sign("/etc/passwd", "read", "", TOKEN), "99999999999", "invalid signature"),
        (sign("/etc/passwd", "read", "", TOKEN, "1"), "1", "signature is already expired"),
        (sign("/etc/passwd", "read", "", TOKEN, "soon"), "soon", "invalid signature"),
    ],
)
def test_bad_signatures(agent: Agent, signature: str | None, expiration: str | None, message: str) -> None:
    asked = {"path": "/etc/passwd", "signature": signature, "signature_expiration": expiration}
    params = {name: value for name, value in asked.items() if value is not None}
    answer = httpx.get(f"{agent.url}/files", params=params)
    assert (answer.status_code, answer.json()) == (401, {"code": 401, "message": message})


def test_a_wrong_token_is_not_mended_by_a_signature(agent: Agent) -> None:
    params = {"path": "/etc/passwd", "signature": sign("/etc/passwd", "read", "", TOKEN)}
    assert httpx.get(f"{agent.url}/files", params=params).status_code == 200
    assert httpx.get(f"{agent.url}/files", params=params, headers={"X-Access-Token": "x"}).status_code == 401


def test_full_disk(sandbox: Sandbox, client: httpx.Client, small_disk: Path) -> None:
    for octets in True, False:
        with pytest.raises(NotEnoughSpaceException):
            sandbox.files.write(str(small_disk / "big"), BIG, use_octet_stream=octets)
    (small_disk / "big").unlink()
    sandbox.files.write(str(small_disk / "small"), "fits")
    assert client.get("/health").status_code == 204
