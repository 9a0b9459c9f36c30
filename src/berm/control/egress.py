"""What may be asked for of what a sandbox reaches, and how that is kept."""

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from berm.control.sealing import Seal
from berm.errors import BermError, Code
from berm.models import Egress, IdentityToken, Socks, SocksTls
from berm.node.egress import lists, names, secured, transform

_MOST: Final = 500
"""Entries of one list, which are told to the launcher in one packet."""

_MOST_SERVERS: Final = 10
_LONGEST_ECHO: Final = 64
_LONGEST_VALUE: Final = 8192
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_TEXT: Final = re.compile(r"[\t\x20-\x7e]*")
_OURS: Final = frozenset(
    ("host", "content-length", "transfer-encoding", "connection", "upgrade", "keep-alive", "te", "trailer")
)
"""Headers that say where a request goes and where it ends."""

_IDENTITY: Final = "${e2b.identity."
_TOKEN_NAME: Final = re.compile(r"[^{}\x00-\x1f\x7f-\x9f]{1,128}")
_TOKEN_TYPE: Final = "JWT-SVID"  # noqa: S105 - not a password
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
    _check("network.rules", tuple(egress.rules), names.is_pattern, "a host name")
    for name, token in egress.tokens.items():
        _check_token(name, token)
    for host, headers in egress.rules.items():
        _check_headers(host, headers, egress.tokens)
    return egress


def sealed(egress: Egress, seal: Seal, sandbox_id: str) -> Egress:
    """As it is recorded: what is secret in it can be read with the key only, and of this sandbox only."""
    return _mapped(egress, lambda text: b64encode(seal.close(text, "egress", sandbox_id)).decode())


def opened(egress: Egress, seal: Seal, sandbox_id: str) -> Egress:
    """As it was before it was sealed. Raises BermError INTERNAL if that was with another key."""
    return _mapped(egress, lambda text: seal.open(b64decode(text), "egress", sandbox_id))


def _mapped(egress: Egress, change: Callable[[str], str]) -> Egress:
    """The same with all that may be secret in it changed: a proxy's password, and values of headers."""
    proxy = egress.proxy
    if proxy and proxy.password:
        proxy = replace(proxy, password=change(proxy.password))
    rules = {host: {k: change(v) for k, v in headers.items()} for host, headers in egress.rules.items()}
    return replace(egress, proxy=proxy, rules=rules)


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
    if socks.tls:
        _check_tls(socks.tls)


def _check_tls(tls: SocksTls) -> None:
    field = "network.egressProxy.tls"
    if tls.server_name and not _is_host(tls.server_name):
        name = tls.server_name[:_LONGEST_ECHO]
        raise BermError(Code.INVALID_ARGUMENT, f"{field}.serverName: {name!r} is not a host name")
    if len(tls.ca_cert.encode()) > _LONGEST_VALUE:
        raise BermError(
            Code.INVALID_ARGUMENT,
            f"{field}.caCert has more than {_LONGEST_VALUE} bytes",
            "give the root alone",
        )
    try:
        secured.trust(tls.ca_cert)
    except ValueError:
        raise BermError(
            Code.INVALID_ARGUMENT, f"{field}.caCert holds no certificates", "give one or more, in PEM"
        ) from None


def _check_token(name: str, token: IdentityToken) -> None:
    if not _TOKEN_NAME.fullmatch(name):
        raise BermError(Code.INVALID_ARGUMENT, f"iam.tokens: {name[:_LONGEST_ECHO]!r} cannot be a name")
    if token.token_type != _TOKEN_TYPE:
        kind = token.token_type[:_LONGEST_ECHO]
        raise BermError(
            Code.INVALID_ARGUMENT,
            f"iam.tokens.{name}.tokenType is {kind!r}, which is not offered",
            f"use {_TOKEN_TYPE}",
        )


def _check_headers(host: str, headers: Mapping[str, str], tokens: Mapping[str, IdentityToken]) -> None:
    """The value of a header is never echoed."""
    for name, value in headers.items():
        field = f"network.rules.{host}: the header {name[:_LONGEST_ECHO]!r}"
        if not _TOKEN.fullmatch(name) or name.lower() in _OURS:
            raise BermError(Code.INVALID_ARGUMENT, f"{field} cannot be set", "choose another name")
        if not _TEXT.fullmatch(value) or len(value) > _LONGEST_VALUE:
            raise BermError(Code.INVALID_ARGUMENT, f"{field} has a value that no header can have")
        _check_named(field, value, tokens)


def _check_named(field: str, value: str, tokens: Mapping[str, IdentityToken]) -> None:
    """The tokens that the value of a header names."""
    for name in transform.IDENTITY.findall(value):
        if name not in tokens:
            raise BermError(
                Code.INVALID_ARGUMENT,
                f"{field} names the identity token {name[:_LONGEST_ECHO]!r}, which iam.tokens does not have",
                "name it there when the sandbox is created",
            )
    if _IDENTITY in transform.IDENTITY.sub("", value):
        raise BermError(Code.INVALID_ARGUMENT, f"{field} names no identity token", "write tokens.NAME")


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
