"""A tapped wire: passes a client's bytes to berm as they are, and notes which calls were made."""

import asyncio
import contextlib
import re
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httptools

from tests.conformance.interface import Operation, read

_SIZE = 65536


@dataclass(frozen=True)
class Call:
    """A request and its answer, as they went by."""

    method: str
    path: str
    to_sandbox: bool
    status: int


class _Requests:
    """What httptools tells of a client's bytes."""

    def __init__(self) -> None:
        self.heads: deque[tuple[str, str, bool]] = deque()
        self._url = b""
        self._to_sandbox = False
        self.parser: Any = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        self._url, self._to_sandbox = b"", False

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        at_port = name.lower() == b"host" and re.match(rb"\d+-", value)
        self._to_sandbox |= bool(at_port) or name.lower() == b"e2b-sandbox-id"

    def on_headers_complete(self) -> None:
        path = self._url.decode("latin-1").partition("?")[0]
        self.heads.append((self.parser.get_method().decode(), path, self._to_sandbox))


class _Answers:
    """What httptools tells of the server's bytes; answers come in the order of the requests."""

    def __init__(self, requests: _Requests, calls: list[Call]) -> None:
        self._requests = requests
        self._calls = calls
        self.parser: Any = httptools.HttpResponseParser(self)

    def on_headers_complete(self) -> None:
        status = self.parser.get_status_code()
        if status >= 200 and self._requests.heads:
            self._calls.append(Call(*self._requests.heads.popleft(), status))


@dataclass
class Recorder:
    """Serves on `port` of loopback, from its start to its end."""

    target: int
    calls: list[Call] = field(default_factory=list)
    port: int = 0

    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, ready: Future[asyncio.AbstractEventLoop]) -> None:
        server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set_result(asyncio.get_running_loop())
        await self.stop.wait()
        server.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_server = await asyncio.open_connection("127.0.0.1", self.target)
        requests = _Requests()
        answers = _Answers(requests, self.calls)
        ways = (
            asyncio.create_task(_copy(reader, to_server[1], requests.parser)),
            asyncio.create_task(_copy(to_server[0], writer, answers.parser)),
        )
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            for end in (writer, to_server[1]):
                end.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, parser: Any) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_SIZE):
            # What comes after an upgrade is not HTTP.
            with contextlib.suppress(httptools.HttpParserError, httptools.HttpParserUpgrade):
                parser.feed_data(data)
            writer.write(data)
            await writer.drain()


@contextmanager
def recording(target: int) -> Iterator[Recorder]:
    """A recorder in a thread of its own, in front of a port of loopback."""
    recorder, ready = Recorder(target), Future[asyncio.AbstractEventLoop]()
    thread = threading.Thread(target=_run, args=(recorder, ready))
    thread.start()
    loop = ready.result()
    try:
        yield recorder
    finally:
        loop.call_soon_threadsafe(recorder.stop.set)
        thread.join()


def _run(recorder: Recorder, ready: Future[asyncio.AbstractEventLoop]) -> None:
    asyncio.run(recorder.serve(ready))


def operation(call: Call) -> Operation | None:
    """What a call is in the interface; None for what it does not have."""
    # A signed link to a file says neither in its host nor in a header whose it is.
    of_agent = call.to_sandbox or call.path == "/files"
    known = (
        read("agent").operations if of_agent else (*read("api").operations, *read("volumecontent").operations)
    )
    fitting = [o for o in known if o.method == call.method and _fits(o.path, call.path)]
    # /templates/tags is not a template.
    return min(fitting, key=lambda o: o.path.count("{"), default=None)


def _fits(template: str, path: str) -> bool:
    pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template))
    return re.fullmatch(pattern, path) is not None


def bare(name: str) -> str:
    """A call's name without those of its parameters."""
    return re.sub(r"{\w+}", "{}", name)
