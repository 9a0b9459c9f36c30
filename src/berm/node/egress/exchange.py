"""What passes between a sandbox and a server: bytes as they are, or one HTTP request and its answer."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from berm.node.egress import clienthello, requests, streams
from berm.node.egress.streams import Channel


@dataclass(frozen=True, slots=True)
class Opening:
    """The first bytes of a connection, and what they say: the name that is asked for, if one is known."""

    data: bytes = b""
    name: str | None = None
    reader: requests.Reader | None = None
    """Of an HTTP request whose head is whole."""
    wrong: str = ""
    """Why it is no request that can be sent on."""

    @property
    def is_http(self) -> bool:
        return bool(self.reader or self.wrong)


async def tls(inside: Channel) -> Opening:
    """What a client on the port of HTTPS begins with."""
    data, until = b"", 1
    while piece := await inside.read():
        data += piece
        if len(data) < until:
            continue
        try:
            return Opening(data, clienthello.server_name(data))
        except clienthello.Incomplete as incomplete:
            until = incomplete.until
            if len(data) > clienthello.MOST:
                break
        except ValueError:
            break
    return Opening(data)


async def http(inside: Channel) -> Opening:
    """What a client on the port of HTTP begins with."""
    reader, data = requests.Reader(), b""
    while piece := await inside.read():
        data += piece
        try:
            reader.feed(piece)
            if reader.request.headed:
                requests.check(reader.request)
                return Opening(data, reader.request.host, reader)
        except ValueError as error:
            return Opening(data, wrong=str(error))
    return Opening(data)


async def between(inside: Channel, outside: Channel, opening: Opening, headers: Mapping[str, str]) -> None:
    """Carry on until both sides have ended. Raises OSError when one breaks."""
    if opening.reader is None:
        await streams.write(outside, opening.data)
        await streams.join(inside, outside)
    elif opening.reader.request.upgrade:
        await _upgrade(inside, outside, opening.reader, headers)
    else:
        await _request(inside, outside, opening.reader, headers)


async def _request(
    inside: Channel, outside: Channel, reader: requests.Reader, headers: Mapping[str, str]
) -> None:
    """One request: the server closes after its answer, and the client then begins anew for the next."""
    sending = asyncio.ensure_future(_send(inside, outside, reader, headers))
    try:
        await streams.carry(outside, inside)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def _upgrade(
    inside: Channel, outside: Channel, reader: requests.Reader, headers: Mapping[str, str]
) -> None:
    await _send(inside, outside, reader, headers)
    answer = await outside.read()
    await streams.write(inside, answer)
    if answer.startswith((b"HTTP/1.1 101 ", b"HTTP/1.0 101 ")):
        await streams.join(inside, outside)
    else:
        await streams.carry(outside, inside)


async def _send(
    inside: Channel, outside: Channel, reader: requests.Reader, headers: Mapping[str, str]
) -> None:
    request = reader.request
    await streams.write(outside, request.head(headers) + request.taken())
    while not request.done:
        piece = await inside.read()
        if not piece:
            outside.reset()
            return
        try:
            reader.feed(piece)
        except ValueError:
            outside.reset()
            return
        await streams.write(outside, request.taken())


def page(status: str, words: str) -> bytes:
    """An answer of the proxy's own."""
    text = f"berm: {words}\n".encode("utf-8", "replace")
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(text)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + text
