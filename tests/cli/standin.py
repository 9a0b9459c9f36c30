"""A stand-in for the server: real HTTP on loopback, with sandboxes and keys that exist on paper only."""

import json
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from typing import Any
from urllib.parse import parse_qs, urlsplit

JSON = dict[str, Any]

KEY = "e2b_00ff"
TOKEN = "token-of-the-sandbox"


@dataclass
class Call:
    """A request that was received."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    then: tuple[threading.Event, bytes] | None = None
    """More of the body, and what it waits for."""
    given: threading.Event = field(default_factory=threading.Event)


def answer(status: int, value: object = None, **headers: str) -> Answer:
    body = b"" if status == 204 else json.dumps(value).encode()
    return Answer(status, body, {"Content-Type": "application/json", **headers})


def stream(*messages: JSON, end: JSON | None = None) -> Answer:
    """A Connect stream; without `end` it breaks off."""
    frames = [(0, message) for message in messages] + ([(2, end)] if end is not None else [])
    body = b"".join(struct.pack(">BI", flag, len(text)) + text for flag, text in map(_encoded, frames))
    return Answer(200, body, {"Content-Type": "application/connect+json"})


def _encoded(frame: tuple[int, JSON]) -> tuple[int, bytes]:
    return frame[0], json.dumps(frame[1]).encode()


def sandbox(sandbox_id: str, **fields: object) -> JSON:
    return {
        "sandboxID": sandbox_id,
        "templateID": "t0",
        "alias": "base",
        "clientID": "berm",
        "startedAt": "2026-01-01T00:00:00Z",
        "endAt": "2026-01-01T00:05:00Z",
        "cpuCount": 2,
        "memoryMB": 1024,
        "diskSizeMB": 10240,
        "state": "running",
        "envdVersion": "0.6.13",
        "metadata": {},
        "envdAccessToken": TOKEN,
        **fields,
    }


class StandIn(ThreadingHTTPServer):
    """Answers from a table of `METHOD /path` -> answers; each is given once, the last one for ever."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.calls: list[Call] = []
        self.answers: dict[str, list[Answer]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: object) -> None:
        """A client that leaves early is no fault of the stand-in."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def on(self, request: str, *answers: Answer) -> None:
        self.answers[request] = list(answers)

    def reply(self, call: Call) -> Answer:
        self.calls.append(call)
        known = self.answers.get(f"{call.method} {call.path}")
        if known is None:
            return answer(404, {"code": 404, "message": f"nothing at {call.method} {call.path}"})
        return known.pop(0) if len(known) > 1 else known[0]


class _Handler(BaseHTTPRequestHandler):
    server: StandIn
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        call = Call(self.command, parts.path, parse_qs(parts.query), headers, self._body())
        made = self.server.reply(call)
        self.send_response(made.status)
        for name, value in made.headers.items():
            self.send_header(name, value)
        if made.status != 204:
            self.send_header("Content-Length", str(len(made.body) + len(made.then[1] if made.then else b"")))
        self.end_headers()
        self.wfile.write(made.body)
        made.given.set()
        if made.then:
            made.then[0].wait()
            self.wfile.write(made.then[1])

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the names http.server looks for

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return b"".join(iter(self._chunk, b""))

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline(), 16)
        data = self.rfile.read(size)
        self.rfile.readline()
        return data

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing: the calls are kept instead."""


@contextmanager
def serving() -> Iterator[StandIn]:
    with StandIn() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
