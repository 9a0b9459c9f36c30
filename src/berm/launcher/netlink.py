"""The five rtnetlink requests (rtnetlink(7)) that wire up a sandbox, sent as one batch.

A general netlink library takes some 20 ms a sandbox for them; this takes under one.
"""

import errno
import os
import socket
import struct
from collections.abc import Sequence
from typing import Final

_REQUEST_ACK: Final = 0x1 | 0x4
_CREATE_EXCL: Final = 0x400 | 0x200
_NLMSG_ERROR: Final = 2
_RTM_NEWLINK, _RTM_DELLINK, _RTM_NEWADDR, _RTM_NEWROUTE = 16, 17, 20, 24
_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_AF_SPEC, _IFLA_NET_NS_FD = 3, 18, 26, 28
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_INET6_ADDR_GEN_MODE, _GEN_MODE_NONE = 8, 1
_IFA_ADDRESS, _IFA_LOCAL, _RTA_OIF, _RTA_GATEWAY = 1, 2, 4, 5
_IFF_UP: Final = 1
_MAIN_TABLE, _PROTOCOL_STATIC, _SCOPE_UNIVERSE, _UNICAST = 254, 4, 0, 1


def _attribute(kind: int, payload: bytes) -> bytes:
    length = 4 + len(payload)
    return struct.pack("=HH", length, kind) + payload + b"\0" * (-length % 4)


def _name(name: str) -> bytes:
    return _attribute(_IFLA_IFNAME, name.encode() + b"\0")


def _link(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, change)


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, _REQUEST_ACK | flags, 0, 0) + body


def veth(name: str, peer: str, peer_namespace: int) -> bytes:
    """A pair of virtual Ethernet devices, the peer in another network namespace."""
    end = _link() + _name(peer) + _attribute(_IFLA_NET_NS_FD, struct.pack("=I", peer_namespace))
    data = _attribute(_IFLA_INFO_DATA, _attribute(_VETH_INFO_PEER, end))
    info = _attribute(_IFLA_LINKINFO, _attribute(_IFLA_INFO_KIND, b"veth\0") + data)
    return _message(_RTM_NEWLINK, _CREATE_EXCL, _link() + _name(name) + info)


def no_link_local(index: int) -> bytes:
    """Keep IPv6 from giving a device an address of its own."""
    mode = _attribute(_INET6_ADDR_GEN_MODE, struct.pack("=B", _GEN_MODE_NONE))
    spec = _attribute(_IFLA_AF_SPEC, _attribute(socket.AF_INET6, mode))
    return _message(_RTM_NEWLINK, 0, _link(index) + spec)


def up(index: int) -> bytes:
    return _message(_RTM_NEWLINK, 0, _link(index, _IFF_UP, _IFF_UP))


def delete(index: int) -> bytes:
    return _message(_RTM_DELLINK, 0, _link(index))


def address(index: int, ip: str, prefix: int) -> bytes:
    packed = socket.inet_aton(ip)
    head = struct.pack("=BBBBI", socket.AF_INET, prefix, 0, _SCOPE_UNIVERSE, index)
    body = head + _attribute(_IFA_LOCAL, packed) + _attribute(_IFA_ADDRESS, packed)
    return _message(_RTM_NEWADDR, _CREATE_EXCL, body)


def default_route(index: int, gateway: str) -> bytes:
    head = struct.pack(
        "=BBBBBBBBI", socket.AF_INET, 0, 0, 0, _MAIN_TABLE, _PROTOCOL_STATIC, _SCOPE_UNIVERSE, _UNICAST, 0
    )
    gate = _attribute(_RTA_GATEWAY, socket.inet_aton(gateway))
    return _message(_RTM_NEWROUTE, _CREATE_EXCL, head + gate + _attribute(_RTA_OIF, struct.pack("=I", index)))


class Netlink:
    """A route socket in the network namespace that was current when it was made."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.bind((0, 0))

    def close(self) -> None:
        self._socket.close()

    def send(self, *messages: bytes) -> None:
        """Send requests in order and wait for every answer; raises OSError for the first that failed."""
        self._socket.send(b"".join(messages))
        codes: list[int] = []
        while len(codes) < len(messages):
            codes += _answers(self._socket.recv(65536))
        _raise_first(codes)


def _answers(data: bytes) -> list[int]:
    codes = []
    while len(data) >= 20:
        length, kind, *_ = struct.unpack_from("=IHHII", data)
        if kind == _NLMSG_ERROR:
            codes.append(-struct.unpack_from("=i", data, 16)[0])
        data = data[(length + 3) & ~3 :]
    return codes


def _raise_first(codes: Sequence[int]) -> None:
    for position, code in enumerate(codes):
        if code:
            raise OSError(
                code, f"rtnetlink request {position}: {errno.errorcode.get(code)} {os.strerror(code)}"
            )
