"""The name in a TLS ClientHello (RFC 8446 4.1.2, RFC 6066 3), read without taking part in the handshake.

The bytes are a sandbox's: they are read here, not by a TLS library, of which a fault would be the server's.
"""

from typing import Final

MOST: Final = 64 * 1024
"""Bytes in which a ClientHello has to be whole; those of today's clients have some 2000."""

_HANDSHAKE, _CLIENT_HELLO, _SERVER_NAME, _HOST_NAME = 22, 1, 0, 0
_LONGEST_RECORD: Final = 1 << 14
_MOST_RECORDS: Final = 16
"""All are read anew with each that comes."""


class Incomplete(Exception):  # noqa: N818 - it is no error
    """There is nothing wrong so far, and more has to come: it is no use to look before there is `until`."""

    def __init__(self, until: int) -> None:
        super().__init__(until)
        self.until = until


class _Bytes:
    """Reads one field after another; a field that is longer than what it is in is a ValueError."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) < count:
            raise ValueError(f"a field of {count} bytes does not fit")
        self._at += count
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def block(self, size: int) -> "_Bytes":
        """A field that is preceded by its length, of `size` bytes."""
        return _Bytes(self.take(self.number(size)))

    @property
    def left(self) -> bool:
        return self._at < len(self._data)

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)


def server_name(data: bytes) -> str | None:
    """The name that a client asks for in the beginning of what it sends; None if it names none.

    Raises Incomplete, or ValueError if that is not the beginning of a TLS connection.
    """
    hello = _Bytes(_message(data))
    hello.take(2 + 32)  # version and random
    for size in (1, 2, 1):  # session, cipher suites, compression methods
        hello.block(size)
    extensions = hello.block(2) if hello.left else _Bytes(b"")
    if hello.left:
        raise ValueError("there is more after the extensions")
    return _name(extensions)


def _message(data: bytes) -> bytes:
    """The first handshake message, which may come in several records (RFC 8446 5.1)."""
    fragments, at = b"", 0
    for _ in range(_MOST_RECORDS):
        fragment = _record(data, at)
        fragments += fragment
        at += 5 + len(fragment)
        if len(fragments) >= 4 and len(fragments) >= _length(fragments):
            return fragments[4 : _length(fragments)]
    raise ValueError(f"a ClientHello in more than {_MOST_RECORDS} records")


def _length(message: bytes) -> int:
    """Of a handshake message, with its header."""
    if message[0] != _CLIENT_HELLO:
        raise ValueError("the first message is no ClientHello")
    length = 4 + int.from_bytes(message[1:4])
    if length > MOST:
        raise ValueError(f"a ClientHello of {length} bytes is too long")
    return length


def _record(data: bytes, at: int) -> bytes:
    header = data[at : at + 5]
    if header[:1] not in (b"", bytes([_HANDSHAKE])) or header[1:2] not in (b"", b"\x03"):
        raise ValueError("that is not TLS")
    if len(header) < 5:
        raise Incomplete(at + len(header) + 1)
    length = int.from_bytes(header[3:])
    if not 0 < length <= _LONGEST_RECORD:
        raise ValueError(f"a record of {length} bytes cannot be")
    if len(data) < at + 5 + length:
        raise Incomplete(at + 5 + length)
    return data[at + 5 : at + 5 + length]


def _name(extensions: _Bytes) -> str | None:
    found: list[bytes] = []
    while extensions.left:
        kind, content = extensions.number(2), extensions.block(2)
        if kind == _SERVER_NAME:
            found.append(_host(content))
    if len(found) > 1:
        raise ValueError("it asks for two names")
    return found[0].decode("ascii") if found else None


def _host(content: _Bytes) -> bytes:
    names = content.block(2)
    kind, name = names.number(1), names.block(2).rest()
    if kind != _HOST_NAME or names.left or content.left or not name:
        raise ValueError("it asks for more than one name, or for none")
    return name
