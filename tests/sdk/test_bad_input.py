"""Bad input gets the right status and a body that the SDK makes an exception of, and leaves nothing."""

import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from e2b import (
    AuthenticationException,
    InvalidArgumentException,
    NotFoundException,
    PtySize,
    Sandbox,
    SandboxException,
    SandboxNotFoundException,
)

from tests.instance import Instance

STREAM = {"content-type": "application/connect+json"}
UNARY = {"content-type": "application/json"}
FORM = {"content-type": "multipart/form-data"}
GZIP = {"content-type": "application/octet-stream", "content-encoding": "gzip"}


def holdings(berm: Instance) -> tuple[set[str], set[str]]:
    """What the node has on disk, but for what it keeps ready, and what the API lists."""
    on_disk = {path.name for path in (berm.pool / "sandboxes").iterdir()}
    return {name for name in on_disk if not name.startswith(".")}, {
        info.sandbox_id for info in Sandbox.list().next_items()
    }


@pytest.fixture
def nothing_left(berm: Instance) -> Iterator[None]:
    before = holdings(berm)
    yield
    assert holdings(berm) == before


@pytest.fixture
def api(berm: Instance) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=berm.url, headers={"X-API-Key": berm.key}) as client:
        yield client


@pytest.fixture
def agent(sandbox: Sandbox, berm: Instance) -> Iterator[httpx.Client]:
    """The sandbox's agent as the gateway carries it, and afterwards still well."""
    headers = {
        "E2b-Sandbox-Id": sandbox.sandbox_id,
        "E2b-Sandbox-Port": "49983",
        "X-Access-Token": sandbox._envd_access_token or "",
    }
    with httpx.Client(base_url=berm.url, headers=headers) as client:
        yield client
    assert sandbox.commands.run("echo well").stdout == "well\n"


def assert_error(response: httpx.Response, status: int) -> None:
    """The one shape of an error that the SDK's generated client can read."""
    assert response.status_code == status, response.text
    body = response.json()
    assert body["code"] == status
    assert body["message"]


CREATIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"template": "no-such-template"}, SandboxException, "404"),
    ({"template": "base:no-such-tag"}, SandboxException, "404"),
    ({"template": "\0"}, SandboxException, "400"),
    ({"template": "x" * 5000}, SandboxException, "40"),
    ({"timeout": -1}, SandboxException, "400"),
    ({"timeout": 10**12}, SandboxException, "400"),
    ({"timeout": 10**30}, SandboxException, "400"),
    ({"metadata": {"a": 1}}, SandboxException, "400"),
    ({"metadata": {"a": "\0"}}, SandboxException, "400"),
    ({"metadata": {"a": "x" * (2 << 20)}}, SandboxException, "413"),
    ({"envs": {"A=B": "c"}}, SandboxException, "400"),
    ({"envs": {"A": "nul\0"}}, SandboxException, "400"),
    ({"api_key": "e2b_" + "0" * 40}, AuthenticationException, "key"),
    ({"network": {"deny_out": ["300.1.1.1/40"]}}, SandboxException, "400: .*denyOut"),
]


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(("options", "kind", "text"), CREATIONS, ids=lambda value: str(value)[:40])
def test_a_sandbox_that_cannot_be_made(options: dict[str, Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        Sandbox.create(**options)


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b"\xff\xfe", 400),
        (b"{}", 400),
        (b'{"templateID": 7}', 400),
        (b'{"templateID": "base", "timeout": "300"}', 400),
        (b'{"templateID": "base", "timeout": 1e400}', 400),
        (b'{"templateID": "base", "timeout": NaN}', 400),
        (b'{"templateID": "base", "metadata": "text"}', 400),
        (b'{"templateID": "base", "envVars": {"A": null}}', 400),
        (b'{"templateID": "\\ud800"}', 400),
        (b'{"templateID": "base", "metadata": {"\\ud800": "\\udfff"}}', 400),
        (b"[" * 100_000, 400),
        (b'{"templateID":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001, 400),
        (b'{"templateID": "base", "x": "' + b"x" * (8 << 20) + b'"}', 413),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_body_that_cannot_be_read(api: httpx.Client, content: bytes, status: int) -> None:
    for path in ("/v2/sandboxes", "/sandboxes"):
        assert_error(api.post(path, content=content, headers=UNARY), status)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/sandboxes/no-such-sandbox", 404),
        ("GET", "/sandboxes/%00", 404),
        ("GET", "/sandboxes/..%2f..%2fetc", 404),
        ("DELETE", "/sandboxes/i0000000000000000000", 404),
        ("GET", "/v2/sandboxes?limit=0", 400),
        ("GET", "/v2/sandboxes?limit=101", 400),
        ("GET", "/v2/sandboxes?limit=x", 400),
        ("GET", "/v2/sandboxes?nextToken=nonsense", 400),
        ("GET", "/v2/sandboxes?state=asleep", 400),
        ("GET", "/v2/sandboxes?metadata=nonsense", 400),
        ("GET", "/v2/sandboxes?startedAfter=yesterday", 400),
        ("GET", "/no/such/call", 404),
        ("PATCH", "/v2/sandboxes", 405),
        ("DELETE", "/api-keys/not-a-uuid", 404),
    ],
)
def test_a_call_that_cannot_be_answered(api: httpx.Client, method: str, path: str, status: int) -> None:
    assert_error(api.request(method, path), status)


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": ""}, {"X-API-Key": "e2b_0"}, {"X-API-Key": "\xff"}])
def test_no_key_no_answer(berm: Instance, headers: dict[str, str]) -> None:
    for method, path in (("GET", "/v2/sandboxes"), ("POST", "/v2/sandboxes"), ("GET", "/api-keys")):
        raw = {name: value.encode("latin-1") for name, value in headers.items()}
        answer = httpx.request(method, berm.url + path, headers=[(n.encode(), v) for n, v in raw.items()])
        assert_error(answer, 401)


def test_a_wrong_timeout_for_a_running_sandbox(sandbox: Sandbox) -> None:
    before = sandbox.get_info().end_at
    for seconds in (-1, 10**12):
        with pytest.raises(SandboxException, match="400"):
            sandbox.set_timeout(seconds)
        with pytest.raises(SandboxException, match="400"):
            Sandbox.connect(sandbox.sandbox_id, timeout=seconds)
    assert sandbox.get_info().end_at == before


def test_a_sandbox_that_never_was() -> None:
    with pytest.raises(SandboxNotFoundException):
        Sandbox.connect("i0000000000000000000")
    assert not Sandbox.kill("i0000000000000000000")


def test_nul_in_paths_and_commands(sandbox: Sandbox) -> None:
    for act in (
        lambda: sandbox.files.read("a\0b"),
        lambda: sandbox.files.write("a\0b", "x"),
        lambda: sandbox.files.list("a\0b"),
        lambda: sandbox.files.make_dir("a\0b"),
        lambda: sandbox.files.rename("a", "a\0b"),
        lambda: sandbox.files.remove("a\0b"),
        lambda: sandbox.files.watch_dir("a\0b"),
        lambda: sandbox.commands.run("echo a\0b"),
        lambda: sandbox.commands.run("true", cwd="a\0b"),
        lambda: sandbox.commands.run("true", envs={"A": "a\0b"}),
        lambda: sandbox.commands.run("true", envs={"A=B": "c"}),
        lambda: sandbox.pty.create(PtySize(rows=24, cols=70_000)),
    ):
        with pytest.raises(InvalidArgumentException):
            act()
    assert sandbox.files.list("/home/user", depth=1) is not None


def test_names_longer_than_the_kernel_takes(sandbox: Sandbox) -> None:
    for path in ("x" * 300, "x/" * 3000 + "y"):
        with pytest.raises(InvalidArgumentException):
            sandbox.files.write(path, "x")
        with pytest.raises((InvalidArgumentException, NotFoundException)):
            sandbox.files.read(path)


def test_a_command_longer_than_the_kernel_takes(sandbox: Sandbox) -> None:
    with pytest.raises(SandboxException, match=r"(?i)too long|invalid"):
        sandbox.commands.run("true " + "x" * (3 << 20))
    assert sandbox.commands.list() == []


def test_an_upload_that_breaks_off(sandbox: Sandbox, agent: httpx.Client) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * 100_000
        raise KeyboardInterrupt

    headers = {"content-type": "application/octet-stream"}
    with pytest.raises(KeyboardInterrupt):
        agent.post("/files?path=part", content=broken(), headers=headers)
    assert sandbox.commands.run("echo well").stdout == "well\n"


@pytest.mark.parametrize("token", ["", "wrong", "\xff"])
def test_the_agent_refuses_who_has_not_its_token(sandbox: Sandbox, berm: Instance, token: str) -> None:
    headers = [
        (b"E2b-Sandbox-Id", sandbox.sandbox_id.encode()),
        (b"E2b-Sandbox-Port", b"49983"),
        (b"X-Access-Token", token.encode("latin-1")),
    ]
    for path in ("/files?path=/etc/passwd", "/envs", "/metrics"):
        assert httpx.get(berm.url + path, headers=headers).status_code == 401
    assert httpx.post(f"{berm.url}/process.Process/List", json={}, headers=headers).status_code == 401


@pytest.mark.parametrize("path", ["/init", "//init", "/init/", "/%69nit", "/freeze"])
def test_the_agents_control_routes_are_closed(agent: httpx.Client, path: str) -> None:
    assert agent.post(path, json={"accessToken": "mine"}).status_code == 404


def frame(content: bytes, flags: int = 0, size: int | None = None) -> bytes:
    return struct.pack(">BI", flags, len(content) if size is None else size) + content


START = json.dumps({"process": {"cmd": "/bin/true"}}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"\0\0\0",
        START,
        frame(START, size=0xFFFFFFFF),
        frame(START, size=len(START) + 1),
        frame(START, size=3),
        frame(b""),
        frame(b"{"),
        frame(b"[]"),
        frame(b"\xff" * 50),
        frame(b"[" * 100_000),
        frame(b'{"process":' * 20_000),
        frame(START, flags=1),
        frame(START, flags=0xFF),
        frame(START) * 2,
        frame(b"{}"),
        frame(b'{"process": {"cmd": 7}}'),
        frame(b'{"process": {"cmd": "/bin/true", "envs": []}}'),
        frame(b'{"process": {"cmd": ""}}'),
        frame(b'{"process": {"cmd": "/no/such"}}'),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_frame_that_cannot_be_read(agent: httpx.Client, content: bytes) -> None:
    response = agent.post("/process.Process/Start", content=content, headers=STREAM)
    assert response.status_code in (200, 400), response.text
    if response.status_code == 200:
        flags, size = struct.unpack(">BI", response.content[:5])
        assert flags == 2
        error = json.loads(response.content[5 : 5 + size])["error"]
        assert error["code"] in ("invalid_argument", "unimplemented", "internal", "resource_exhausted")
        assert error["message"]


@pytest.mark.parametrize(
    ("method", "content"),
    [
        ("process.Process/List", b"{"),
        ("process.Process/SendSignal", b'{"process": {"pid": "x"}}'),
        ("process.Process/SendSignal", b'{"process": {"pid": -1}, "signal": "SIGNAL_SIGKILL"}'),
        ("process.Process/SendInput", b'{"process": {"pid": 1}, "input": {"stdin": "not base64!"}}'),
        ("filesystem.Filesystem/Stat", b'{"path": {}}'),
        ("filesystem.Filesystem/ListDir", b'{"path": "/", "depth": -5}'),
        ("filesystem.Filesystem/Stat", b"[" * 100_000),
        ("filesystem.Filesystem/Stat", b""),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_message_that_cannot_be_read(agent: httpx.Client, method: str, content: bytes) -> None:
    response = agent.post(f"/{method}", content=content, headers=UNARY)
    assert response.status_code == 400, response.text
    assert response.json()["code"] == "invalid_argument"


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/process.Process/NoSuchMethod", UNARY, 404),
        ("/no.such.Service/List", UNARY, 404),
        ("/process.Process/Start", {"content-type": "text/plain"}, 415),
        ("/process.Process/List", {"content-type": "application/xml"}, 415),
    ],
)
def test_a_method_that_is_not_there(
    agent: httpx.Client, path: str, headers: dict[str, str], status: int
) -> None:
    assert agent.post(path, content=b"{}", headers=headers).status_code == status


Act = Callable[[httpx.Client], httpx.Response]


@pytest.mark.parametrize(
    ("act", "status"),
    [
        (lambda agent: agent.get("/files"), 400),
        (lambda agent: agent.get("/files?path=missing"), 404),
        (lambda agent: agent.get("/files?path=/etc"), 400),
        (lambda agent: agent.get("/files?path=x&username=nobody-here"), 401),
        (lambda agent: agent.post("/files", content=b"x"), 400),
        (lambda agent: agent.post("/files?path=x", content=b"--", headers=FORM), 400),
        (lambda agent: agent.post("/files?path=x", content=b"no gzip", headers=GZIP), 400),
        (lambda agent: agent.post("/files?path=/proc/1/mem", files={"file": b"x"}), 403),
    ],
)
def test_a_transfer_that_cannot_be_made(agent: httpx.Client, act: Act, status: int) -> None:
    assert_error(act(agent), status)
