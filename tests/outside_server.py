"""The servers of the playing internet, run by tests/outside.py: `outside_server.py DIRECTORY SOCKS_ADDRESS`.

HTTP on 80 and 8080 answers with the head it got, `/drip` without end, and so does 443 under TLS. Port 9000
greets first; 5353 answers UDP; SOCKS5 on 1080, and under TLS on 1081, wants a name and a password. What
happens is told as JSON.
"""

import asyncio
import ipaddress
import json
import socket
import ssl
import struct
import subprocess
import sys
from pathlib import Path
from typing import cast

USER, PASSWORD = "walrus", "tusk-and-tusk"


def tell(**fields: str) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    name = writer.get_extra_info("ssl_object") and writer.get_extra_info("ssl_object").context.sni
    address = writer.get_extra_info("sockname")[0]
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            await answer(head, reader, writer, f"{address} {name or ''}".strip())
            if "connection: close" in head.lower():
                break
    except (asyncio.IncompleteReadError, OSError):
        pass
    finally:
        tell(event="closed", address=address)
        writer.close()


async def answer(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, where: str) -> None:
    body = await read_body(head, reader)
    path = head.split()[1]
    tell(event="request", where=where, head=head, body=body)
    if path == "/upgrade":
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        while data := await reader.read(100):
            writer.write(data)
        return
    if path == "/drip":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.1)
        return
    if path == "/large":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n")
        for number in range(2000):
            writer.write(b"%09d\n" % number * 1000)
            await writer.drain()
        return
    text = json.dumps({"where": where, "head": head, "body": body}).encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
    await writer.drain()


async def read_body(head: str, reader: asyncio.StreamReader) -> str:
    if "transfer-encoding: chunked" in head.lower():
        body = ""
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size)).decode()
            await reader.readexactly(2)
        await reader.readexactly(2)
        return body
    lines = [line for line in head.lower().splitlines() if line.startswith("content-length:")]
    return (await reader.readexactly(int(lines[0].split(":")[1]))).decode() if lines else ""


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello from " + writer.get_extra_info("sockname")[0].encode() + b"\n")
    await reader.read()
    writer.close()


async def socks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """SOCKS5 with a password (RFC 1928, RFC 1929), as a server that tells what it was asked."""
    try:
        _, methods = await reader.readexactly(2)
        offered = await reader.readexactly(methods)
        if 2 not in offered:
            writer.write(b"\x05\xff")
            return
        writer.write(b"\x05\x02")
        user, password = await credentials(reader)
        right = (user, password) == (USER, PASSWORD)
        writer.write(b"\x01\x00" if right else b"\x01\x01")
        if right:
            await tunnel(reader, writer)
    except (asyncio.IncompleteReadError, OSError):
        pass
    finally:
        writer.close()


async def credentials(reader: asyncio.StreamReader) -> tuple[str, str]:
    _, length = await reader.readexactly(2)
    user = (await reader.readexactly(length)).decode()
    (length,) = await reader.readexactly(1)
    return user, (await reader.readexactly(length)).decode()


async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    _, _, _, kind = await reader.readexactly(4)
    if kind == 3:
        (length,) = await reader.readexactly(1)
        asked = (await reader.readexactly(length)).decode()
        host = "127.0.0.1"
    else:
        asked = host = str(ipaddress.IPv4Address(await reader.readexactly(4)))
    (port,) = struct.unpack("!H", await reader.readexactly(2))
    tell(event="socks", asked=asked, port=str(port))
    far_reader, far_writer = await asyncio.open_connection(host, port)
    writer.write(b"\x05\x00\x00\x01\0\0\0\0\0\0")
    await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


class Echo(asyncio.DatagramProtocol):
    transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        tell(event="datagram", data=data.decode("latin-1"))
        for _ in range(50 if data == b"flood" else 1):
            self.transport.sendto(data, addr)


class Context(ssl.SSLContext):
    sni = ""


def tls(directory: Path) -> Context:
    certificate, key = directory / "outside.pem", directory / "outside.key"
    subject = ("-subj", "/CN=outside", "-addext", "subjectAltName=DNS:*.test,DNS:allowed.test,DNS:socks.test")
    made = ("-keyout", str(key), "-out", str(certificate), "-days", "2", "-nodes")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", *made, *subject]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    context = Context(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def name(_socket: object, server_name: str | None, _context: object) -> None:
        context.sni = server_name or ""

    context.sni_callback = name
    return context


async def main(directory: Path, socks_address: str) -> None:
    for port in (80, 8080):
        await asyncio.start_server(http, "0.0.0.0", port)
    context = tls(directory)
    await asyncio.start_server(http, "0.0.0.0", 443, ssl=context)
    await asyncio.start_server(greet, "0.0.0.0", 9000)
    await asyncio.start_server(socks, socks_address, 1080)
    await asyncio.start_server(socks, socks_address, 1081, ssl=context)
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(Echo, ("0.0.0.0", 5353), family=socket.AF_INET)
    tell(event="serving")
    # The end of the test, however it came, closes standard input.
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
