"""Which port of which sandbox a request is for, read from its Host or its E2b-Sandbox headers."""

import ipaddress
import re
from dataclasses import dataclass

from berm import ids
from berm.errors import BermError, Code

_LABEL = re.compile(r"([0-9]+)-([^.]*)")
_PORT = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Target:
    """One TCP port of one sandbox."""

    sandbox_id: str
    port: int


def target(host: str, sandbox_id: str | None, port: str | None, domain: str) -> Target | None:
    """The sandbox port that a request names, None if it is for the API.

    `host` is the Host header, `sandbox_id` and `port` the E2b-Sandbox-Id and -Port headers; `domain`
    may carry a port. Raises BermError INVALID_ARGUMENT if what should name a sandbox port does not.
    """
    name = _name(host)
    if _decided_by_headers(name, _name(domain)):
        return None if sandbox_id is None or port is None else _parse(sandbox_id, port)
    label = _LABEL.match(name)
    return _parse(label[2], label[1]) if label else None


def _name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".").lower()


def _decided_by_headers(name: str, domain: str) -> bool:
    return name in ("", "localhost", domain, f"sandbox.{domain}") or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _parse(sandbox_id: str, port: str) -> Target:
    if not ids.is_sandbox_id(sandbox_id):
        raise BermError(
            Code.INVALID_ARGUMENT,
            f"{sandbox_id[:64]!r} is not a sandbox id",
            "use the sandboxID that creating the sandbox returned",
        )
    if not _PORT.fullmatch(port) or not 0 < int(port) < 65536:
        raise BermError(
            Code.INVALID_ARGUMENT,
            f"{port[:64]!r} is not a port of a sandbox",
            "use a number from 1 to 65535",
        )
    return Target(sandbox_id, int(port))
