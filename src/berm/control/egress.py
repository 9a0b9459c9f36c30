"""What may be asked for of what a sandbox reaches, and how that is kept."""

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from berm.control.sealing import Seal
from berm.errors import BermError, Code
from berm.models import Egress, Socks
from berm.node.egress import lists, names

_MOST: Final = 500
"""Entries of one list, which are told to the launcher in one packet."""

_MOST_SERVERS: Final = 10
_LONGEST_ECHO: Final = 64
_ADDRESS: Final = re.compile(r"([^:]+):(\d{1,5})")


def closed(egress: Egress, allow_internet: bool | None) -> Egress:
    """The same with everything denied, if internet access is off."""
    return lists.deny_all(egress) if allow_internet is False else egress


def checked(egress: Egress) -> Egress:
    """The same. Raises BermError INVALID_ARGUMENT naming the field and the entry that cannot be."""
    _check("network.allowOut", egress.allow_out, _is_destination, "an IPv4 address, a network or a host name")
    _check("network.denyOut", egress.deny_out, lists.is_network, "an IPv4 address or network")
    _check("network.dnsServers", egress.dns_servers or (), lists.is_address, "an IPv4 address", _MOST_SERVERS)
    if egress.proxy:
        _check_socks(egress.proxy)
    return egress


def sealed(egress: Egress, seal: Seal, sandbox_id: str) -> Egress:
    """As it is recorded: what is secret in it can be read with the key only, and of this sandbox only."""
    proxy = egress.proxy
    if proxy is None or not proxy.password:
        return egress
    password = b64encode(seal.close(proxy.password, *_place(sandbox_id))).decode()
    return replace(egress, proxy=replace(proxy, password=password))


def opened(egress: Egress, seal: Seal, sandbox_id: str) -> Egress:
    """As it was before it was sealed. Raises BermError INTERNAL if that was with another key."""
    proxy = egress.proxy
    if proxy is None or not proxy.password:
        return egress
    password = seal.open(b64decode(proxy.password), *_place(sandbox_id))
    return replace(egress, proxy=replace(proxy, password=password))


def _place(sandbox_id: str) -> tuple[str, str]:
    return "egress", sandbox_id


def _check_socks(socks: Socks) -> None:
    """The name or the password is never echoed."""
    parts = _ADDRESS.fullmatch(socks.address)
    if not parts or not _is_host(parts[1]) or not 0 < int(parts[2]) < 1 << 16:
        raise BermError(
            Code.INVALID_ARGUMENT,
            f"network.egressProxy.address: {socks.address[:_LONGEST_ECHO]!r} is not host:port",
            "write it like proxy.example.com:1080",
        )
    for field, value in (("username", socks.username), ("password", socks.password)):
        if len(value.encode()) > 255:
            raise BermError(Code.INVALID_ARGUMENT, f"network.egressProxy.{field} is longer than 255 bytes")
    if bool(socks.password) != bool(socks.username):
        raise BermError(
            Code.INVALID_ARGUMENT,
            "network.egressProxy has a username or a password alone",
            "give both or none",
        )


def _is_host(text: str) -> bool:
    return lists.is_address(text) or names.is_name(text)


def _is_destination(text: str) -> bool:
    return lists.is_network(text) or names.is_pattern(text)


def _check(
    field: str, entries: Sequence[str], is_right: Callable[[str], bool], kind: str, most: int = _MOST
) -> None:
    if len(entries) > most:
        raise BermError(Code.INVALID_ARGUMENT, f"{field} has {len(entries)} entries", f"{most} are the most")
    for entry in entries:
        if not is_right(entry):
            raise BermError(Code.INVALID_ARGUMENT, f"{field}: {entry[:_LONGEST_ECHO]!r} is not {kind}")
