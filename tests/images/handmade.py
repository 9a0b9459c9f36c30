"""A registry on loopback that speaks just enough of the protocol to serve images, and fails as it is told."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

from tests.images.oci import Descriptor, Store

Fault = Callable[["Answer"], None]


@dataclass
class HandmadeRegistry:
    """`store` is what there is, `faults` what happens when the digest or tag is asked for."""

    address: str = ""
    store: Store = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """The last part of each path that was asked for."""
    reached: Event = field(default_factory=Event)
    """Set when a fault has done its worst."""
    over: Event = field(default_factory=Event)
    login: str = ""
    """What an Authorization has to be, if one is asked for."""

    def tag(self, name: str, described: Descriptor) -> str:
        """Let a tag mean what is described; returns its digest."""
        digest = str(described["digest"])
        self.store[name] = self.store[digest]
        self.types[name] = self.types[digest] = str(described["mediaType"])
        return digest


@dataclass
class Answer:
    """One that a fault may give instead of the right one."""

    registry: HandmadeRegistry
    handler: BaseHTTPRequestHandler
    content: bytes

    def send(self, content: bytes, length: int | None = None) -> None:
        self.handler.send_response(200)
        name = self.handler.path.rpartition("/")[2]
        self.handler.send_header("Content-Type", self.registry.types.get(name, "application/octet-stream"))
        self.handler.send_header("Content-Length", str(len(content) if length is None else length))
        self.handler.end_headers()
        self.handler.wfile.write(content)
        self.handler.wfile.flush()


def hang(answer: Answer) -> None:
    """Say nothing."""
    answer.registry.reached.set()
    answer.registry.over.wait()


def stop_in_the_middle(answer: Answer) -> None:
    """Send half, then nothing more."""
    answer.send(answer.content[: len(answer.content) // 2], len(answer.content))
    hang(answer)


def hang_up_in_the_middle(answer: Answer) -> None:
    """Send half, then end the connection."""
    answer.send(answer.content[: len(answer.content) // 2], len(answer.content))


def other_content(answer: Answer) -> None:
    """Send as many other bytes."""
    content = bytearray(answer.content)
    content[len(content) // 2] ^= 1
    answer.send(bytes(content))


def more_content(answer: Answer) -> None:
    """Send more than there should be."""
    answer.send(answer.content + bytes(1000))


def instead(content: bytes) -> Fault:
    """Send something else."""
    return lambda answer: answer.send(content)


def status(code: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Fault:
    """Answer with a status and what the registry says about it."""

    def fault(answer: Answer) -> None:
        answer.handler.send_response(code)
        for name, value in (headers or {}).items():
            answer.handler.send_header(name, value)
        answer.handler.send_header("Content-Length", str(len(body)))
        answer.handler.end_headers()
        answer.handler.wfile.write(body)

    return fault


@contextmanager
def handmade_registry() -> Iterator[HandmadeRegistry]:
    """One that runs; its address has to be `insecure`."""
    registry = HandmadeRegistry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            answer = Answer(registry, self, registry.store.get(name, b""))
            if registry.login not in ("", self.headers.get("Authorization")):
                status(401, b"{}", {"WWW-Authenticate": 'Basic realm="test"'})(answer)
                return
            if self.path == "/v2/":
                status(200)(answer)
                return
            registry.asked.append(name)
            if fault := registry.faults.get(name):
                fault(answer)
            elif name in registry.store:
                answer.send(answer.content)
            else:
                code = b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}'
                status(404, code)(answer)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever)
    thread.start()
    registry.address = f"127.0.0.1:{server.server_port}"
    try:
        yield registry
    finally:
        registry.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
