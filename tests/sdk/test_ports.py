"""Servers inside a sandbox, reached by headers and by host name: HTTP, streams both ways, WebSocket."""

from collections.abc import Callable, Iterator

import httpx
import pytest
from e2b import CommandHandle, Sandbox
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.instance import Instance

PORT = 8000

WEB = """
import json, queue
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

lines = queue.SimpleQueue()

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args): pass

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", len(body))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path != "/lines":
            return self.answer(json.dumps({"path": self.path, "headers": dict(self.headers)}).encode())
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while line := lines.get():
            self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(line), line))
        self.wfile.write(b"0\\r\\n\\r\\n")

    def do_POST(self):
        while size := int(self.rfile.readline(), 16):
            lines.put(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        lines.put(b"")
        self.answer(b"")

server = ThreadingHTTPServer(("0.0.0.0", 8000), Handler)
print("ready", flush=True)
server.serve_forever()
"""

ECHO = """
import base64, hashlib, socketserver

class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        head = b""
        while not head.endswith(b"\\r\\n\\r\\n"):
            head += self.rfile.readline()
        headers = dict(line.split(": ", 1) for line in head.decode().split("\\r\\n")[1:-2])
        key = next(value for name, value in headers.items() if name.lower() == "sec-websocket-key")
        accept = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        self.wfile.write(b"HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\n"
            b"Connection: Upgrade\\r\\nSec-WebSocket-Accept: " + base64.b64encode(accept) + b"\\r\\n\\r\\n")
        while first := self.rfile.read(1):
            size = self.rfile.read(1)[0] & 127
            if size == 126:
                size = int.from_bytes(self.rfile.read(2), "big")
            mask = self.rfile.read(4)
            data = bytes(byte ^ mask[n % 4] for n, byte in enumerate(self.rfile.read(size)))
            length = bytes([size]) if size < 126 else b"\\x7e" + size.to_bytes(2, "big")
            self.wfile.write(first + length + data)
            if first[0] & 15 == 8:
                break

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True

server = Server(("0.0.0.0", 8000), Echo)
print("ready", flush=True)
server.serve_forever()
"""

Address = Callable[[Sandbox], dict[str, str]]


def by_headers(sandbox: Sandbox) -> dict[str, str]:
    return {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": str(PORT)}


def by_host(sandbox: Sandbox) -> dict[str, str]:
    return {"Host": sandbox.get_host(PORT)}


both_ways = pytest.mark.parametrize("address", [by_headers, by_host])


@pytest.fixture
def client(berm: Instance) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=berm.url) as client:
        yield client


def serve(sandbox: Sandbox, program: str) -> CommandHandle:
    """Start a server inside and wait until it listens."""
    sandbox.files.write("server.py", program)
    handle = sandbox.commands.run("python3 server.py", background=True, timeout=0)
    assert next(iter(handle))[0] == "ready\n"
    return handle


@both_ways
def test_requests_and_answers(sandbox: Sandbox, client: httpx.Client, address: Address) -> None:
    serve(sandbox, WEB)
    seen = client.get("/a%2Fb?c=d&e", headers={**address(sandbox), "X-Mine": "yes"}).json()
    assert seen["path"] == "/a%2Fb?c=d&e"
    assert {name.lower(): value for name, value in seen["headers"].items()}["x-mine"] == "yes"


def test_the_host_name_reaches_the_server_inside(sandbox: Sandbox, client: httpx.Client) -> None:
    serve(sandbox, WEB)
    headers = client.get("/", headers=by_host(sandbox)).json()["headers"]
    assert {name.lower(): value for name, value in headers.items()}["host"] == sandbox.get_host(PORT)


@both_ways
def test_streams_both_ways(sandbox: Sandbox, client: httpx.Client, address: Address) -> None:
    """Each piece is sent only after the one before it has come back on the other connection."""
    serve(sandbox, WEB)
    words = [b"one", b"two", b"three"]
    with client.stream("GET", "/lines", headers=address(sandbox)) as down:
        pieces = down.iter_raw()

        def body() -> Iterator[bytes]:
            for word in words:
                yield word
                assert next(pieces) == word

        assert client.post("/", headers=address(sandbox), content=body()).status_code == 200
        assert list(pieces) == []


@both_ways
async def test_web_sockets(sandbox: Sandbox, berm: Instance, address: Address) -> None:
    serve(sandbox, ECHO)
    port = int(berm.env["BERM_PORT"])
    headers = address(sandbox)
    url = f"ws://{headers.pop('Host', f'127.0.0.1:{port}')}/socket"
    async with connect(url, host="127.0.0.1", port=port, additional_headers=headers) as socket:
        for message in ("text", b"\0\xff", "x" * 20_000):
            await socket.send(message)
            assert await socket.recv() == message


async def test_a_web_socket_breaks_when_the_sandbox_ends(sandbox: Sandbox, berm: Instance) -> None:
    serve(sandbox, ECHO)
    url = f"ws{berm.url.removeprefix('http')}"
    async with connect(url, additional_headers=by_headers(sandbox)) as socket:
        await socket.send("x")
        assert await socket.recv() == "x"
        sandbox.kill()
        with pytest.raises(ConnectionClosed):
            await socket.recv()
    with pytest.raises(InvalidStatus) as refused:
        await connect(url, additional_headers=by_headers(sandbox))
    assert refused.value.response.status_code == 502


def test_a_download_breaks_when_the_sandbox_ends(sandbox: Sandbox, client: httpx.Client) -> None:
    """It must not look like the end of the content."""
    serve(sandbox, WEB)
    with client.stream("GET", "/lines", headers=by_headers(sandbox)) as down:
        sandbox.kill()
        with pytest.raises(httpx.TransportError):
            down.read()


@both_ways
def test_nothing_listens(sandbox: Sandbox, client: httpx.Client, address: Address) -> None:
    answer = client.get("/", headers=address(sandbox))
    assert answer.status_code == 502
    assert answer.json() == {
        "sandboxId": sandbox.sandbox_id,
        "message": "The sandbox is running but port is not open",
        "port": PORT,
        "code": 502,
    }


@both_ways
def test_no_such_sandbox(sandbox: Sandbox, client: httpx.Client, address: Address) -> None:
    sandbox.kill()
    answer = client.get("/", headers=address(sandbox))
    assert answer.status_code == 502
    assert answer.json() == {
        "sandboxId": sandbox.sandbox_id,
        "message": "The sandbox was not found",
        "code": 502,
    }


def test_a_server_that_listens_on_loopback_alone_is_not_reached(
    sandbox: Sandbox, client: httpx.Client
) -> None:
    serve(sandbox, WEB.replace("0.0.0.0", "127.0.0.1"))
    assert client.get("/", headers=by_headers(sandbox)).json()["port"] == PORT


def test_many_connections_to_many_ports(sandbox: Sandbox, client: httpx.Client) -> None:
    for port in range(9000, 9010):
        program = WEB.replace("8000", str(port))
        sandbox.files.write(f"server{port}.py", program)
        handle = sandbox.commands.run(f"python3 server{port}.py", background=True, timeout=0)
        assert next(iter(handle))[0] == "ready\n"
    for port in [*range(9000, 9010)] * 3:
        headers = {"Host": sandbox.get_host(port)}
        seen = client.get(f"/{port}", headers=headers).json()
        assert seen["path"] == f"/{port}"
