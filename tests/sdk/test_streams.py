"""Streams to a real sandbox: a gibibyte each way in bounded memory, and events one by one."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from e2b import Sandbox

from tests.instance import Instance
from tests.sdk.test_ports import by_host, serve

GIB = 1 << 30
PIECE = bytes(range(256)) * 4096
"""A mebibyte."""

SERVER = """
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIECE = bytes(range(256)) * 4096

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args): pass

    def head(self, *headers):
        self.send_response(200)
        for header in headers:
            self.send_header(*header)
        self.end_headers()

    def do_GET(self):
        if self.path == "/events":
            self.head(("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked"))
            for number in range(1000000):
                event = b"data: %d\\n\\n" % number
                self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(event), event))
                while number >= taken[0]:
                    time.sleep(0.001)
        self.head(("Content-Length", 1024 * len(PIECE)))
        for _ in range(1024):
            self.wfile.write(PIECE)

    def do_POST(self):
        if self.path == "/taken":
            taken[0] += 1
            self.head(("Content-Length", 0))
            return
        left, right = int(self.headers["Content-Length"]), True
        while left:
            piece = self.rfile.read(min(left, len(PIECE)))
            right = right and piece == PIECE
            left -= len(piece)
        body = b"true" if right else b"false"
        self.head(("Content-Length", len(body)))
        self.wfile.write(body)

taken = [0]
server = ThreadingHTTPServer(("0.0.0.0", 8000), Handler)
print("ready", flush=True)
server.serve_forever()
"""


class Memory:
    """The most that the server's process has held since this was made."""

    def __init__(self, berm: Instance) -> None:
        self._process = Path(f"/proc/{berm.server_pid()}")
        # 5 begins the peak anew (proc(5)).
        (self._process / "clear_refs").write_text("5")
        self._before = self._read("VmRSS")

    def grown(self) -> int:
        return self._read("VmHWM") - self._before

    def _read(self, name: str) -> int:
        lines = (self._process / "status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


@pytest.fixture
def client(sandbox: Sandbox, berm: Instance) -> Iterator[httpx.Client]:
    serve(sandbox, SERVER)
    with httpx.Client(base_url=berm.url, headers=by_host(sandbox), timeout=600) as client:
        yield client


def test_a_gibibyte_comes_down_whole_and_in_bounded_memory(client: httpx.Client, berm: Instance) -> None:
    memory, taken = Memory(berm), 0
    with client.stream("GET", "/") as answer:
        for piece in answer.iter_bytes(len(PIECE)):
            assert piece == PIECE
            taken += len(piece)
    assert taken == GIB
    assert memory.grown() < 32 << 20


def test_a_gibibyte_goes_up_whole_and_in_bounded_memory(client: httpx.Client, berm: Instance) -> None:
    memory = Memory(berm)
    body = (PIECE for _ in range(GIB // len(PIECE)))
    answer = client.post("/", content=body, headers={"Content-Length": str(GIB)})
    assert answer.text == "true"
    assert memory.grown() < 32 << 20


def test_an_event_comes_before_the_next_is_made(client: httpx.Client) -> None:
    """The server inside goes on only when the one before it has been taken."""
    with client.stream("GET", "/events") as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        lines = answer.iter_lines()
        for number in range(20):
            assert next(line for line in lines if line) == f"data: {number}"
            assert client.post("/taken").status_code == 200
