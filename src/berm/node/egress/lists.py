"""The lists of what a sandbox may reach, and what of them the firewall does."""

import ipaddress
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from berm.launcher.policy import Networks, Policy, Redirect, networks
from berm.models import EVERYWHERE, Egress

_ALL: Final = (ipaddress.IPv4Network("0.0.0.0/0"),)


def policy(egress: Egress) -> Policy:
    """What the firewall is told; all else is the proxy's.

    With names among what is allowed, all is closed that no list opens: nobody names hosts to open the rest.
    """
    allow, deny, names = networks(addresses(egress.allow_out)), networks(egress.deny_out), hosts(egress)
    servers = networks(egress.dns_servers or ()) if names else ()
    return Policy(
        allow=networks(map(str, (*allow, *servers))),
        deny=deny,
        closed=bool(names) or deny == _ALL,
        resolvers=_ALL if names and egress.dns_servers is None else servers,
        redirect=_redirect(egress),
        untouched=_untouched(egress, allow),
    )


def _redirect(egress: Egress) -> Redirect:
    if egress.proxy:
        return Redirect.TCP
    return Redirect.WEB if hosts(egress) or egress.rules else Redirect.NONE


def _untouched(egress: Egress, allow: Networks) -> Networks:
    """What is reached directly because of its address, and not read on its way."""
    return () if egress.proxy or egress.rules else allow


def hosts(egress: Egress) -> tuple[str, ...]:
    """The host names among what is allowed."""
    return tuple(entry for entry in egress.allow_out if not is_network(entry))


def deny_all(egress: Egress) -> Egress:
    """The same with everything denied that is not allowed."""
    return replace(egress, deny_out=(*(set(egress.deny_out) - {EVERYWHERE}), EVERYWHERE))


def is_address(text: str) -> bool:
    """Whether that is an IPv4 address."""
    return is_network(text) and "/" not in text


def addresses(entries: Iterable[str]) -> list[str]:
    return [entry for entry in entries if is_network(entry)]


def is_network(text: str) -> bool:
    """Whether that is an IPv4 address or network, and not a name."""
    try:
        ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        return False
    return True
