"""Where a connection of a sandbox's may go, by the name it asks for and the address it was sent to."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from berm.launcher.policy import Policy, Redirect
from berm.models import Egress, Socks
from berm.node.egress import lists, names, transform

HTTP: Final = 80
HTTPS: Final = 443


@dataclass(frozen=True, slots=True)
class Asked:
    """What a connection was sent to, and the name in its first bytes."""

    address: str
    port: int
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Where it goes instead: a name to be resolved, or an address."""

    host: str
    port: int
    proxy: Socks | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """To be set on the request, and to go nowhere but to the host that they are for."""
    listed: bool = True
    """Whether the lists allow it as it is; else they have to allow the address that its name stands for."""

    @property
    def opened(self) -> bool:
        """Whether TLS ends here and begins anew, as headers are to be set in it."""
        return bool(self.headers) and self.port == HTTPS


class Judge:
    """Decides for one sandbox."""

    def __init__(self, egress: Egress) -> None:
        self.egress = egress
        self.policy: Policy = lists.policy(egress)
        self._names = lists.hosts(egress)

    @property
    def wanted(self) -> bool:
        """Whether anything is redirected."""
        return self.policy.redirect is not Redirect.NONE

    def reads(self, asked: Asked) -> bool:
        """Whether the first bytes matter: where a name could open what the address does not."""
        if asked.port not in (HTTP, HTTPS):
            return False
        return bool(self.egress.rules) or (bool(self._names) and not self._reaches(asked))

    def target(self, asked: Asked) -> Target | None:
        """Where that goes; None if nowhere."""
        proxy, headers = self.egress.proxy, transform.headers(self.egress.rules, asked.name)
        if asked.name is not None and self._allows(asked.name, asked.port):
            return Target(names.normal(asked.name), asked.port, proxy, headers)
        if asked.name is not None and headers:
            return Target(names.normal(asked.name), asked.port, proxy, headers, listed=False)
        return Target(asked.address, asked.port, proxy) if self._reaches(asked) else None

    def _reaches(self, asked: Asked) -> bool:
        return self.policy.reaches(ipaddress.IPv4Address(asked.address))

    def _allows(self, name: str, port: int) -> bool:
        known = names.is_name(name) and port in (HTTP, HTTPS)
        return known and any(names.matches(pattern, name) for pattern in self._names)
