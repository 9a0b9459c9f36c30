"""What one sandbox may reach, as the firewall is told: no secrets, and only what was parsed anew here."""

import ipaddress
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

Networks = tuple[ipaddress.IPv4Network, ...]


class Redirect(StrEnum):
    """Which TCP connections go to the host's proxy in place of where they were sent."""

    NONE = ""
    HTTP = "http"
    WEB = "web"
    TCP = "tcp"


@dataclass(frozen=True, slots=True)
class Policy:
    """`allow` wins over `deny`; what is in neither is refused if `closed`.

    `resolvers` are networks whose name servers stay open to DNS however that is. `redirect` goes to the
    proxy, but for what goes to `untouched`.
    """

    allow: Networks = ()
    deny: Networks = ()
    closed: bool = False
    resolvers: Networks = ()
    redirect: Redirect = Redirect.NONE
    untouched: Networks = ()

    @classmethod
    def from_wire(cls, message: dict[str, Any]) -> "Policy":
        """Raises ValueError for what is no IPv4 network and no kind of redirection."""
        lists = {name: networks(message[name]) for name in ("allow", "deny", "resolvers", "untouched")}
        return cls(closed=bool(message["closed"]), redirect=Redirect(message["redirect"]), **lists)

    def to_wire(self) -> dict[str, Any]:
        return {k: [str(n) for n in v] if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def reaches(self, address: ipaddress.IPv4Address) -> bool:
        """Whether the lists let a sandbox reach a public address."""
        return within(address, self.allow) or not (self.closed or within(address, self.deny))

    def asks(self, resolver: ipaddress.IPv4Address) -> bool:
        """Whether the sandbox may ask one of the host's name servers."""
        return within(resolver, self.resolvers) or self.reaches(resolver)


def networks(texts: Iterable[str]) -> Networks:
    """Networks as few as can be, for one set of the firewall must not hold an address twice."""
    return tuple(ipaddress.collapse_addresses(ipaddress.IPv4Network(text, strict=False) for text in texts))


def within(address: ipaddress.IPv4Address, of: Networks) -> bool:
    return any(address in network for network in of)
