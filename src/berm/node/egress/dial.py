"""Connections that the host makes for a sandbox: to public addresses only, whatever a name resolves to."""

import asyncio
import ipaddress
import random
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final
from weakref import WeakValueDictionary

from berm.launcher.firewall import NOT_PUBLIC
from berm.launcher.policy import networks, within
from berm.node.egress import lists

SECONDS: Final = 10
"""How long a name may take to be resolved, and an address to be connected to."""

_TRIED: Final = 3
"""Addresses of a name that are tried."""

_NOT_PUBLIC: Final = networks(NOT_PUBLIC)
_THREADS: Final = ThreadPoolExecutor(64, "resolver")
"""Of their own: a name that is slow to be resolved must not keep the server from its disk."""

_NAMES_AT_ONCE: Final = 4
"""Of one sandbox, which may choose names whose servers never answer; others need threads too."""

_NAMES_OF_A_TEAM: Final = 16
"""At once: a quarter of the threads, however many sandboxes it has."""

_teams: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()


class RefusedError(OSError):
    """There is no way to where a sandbox wants to go, and why; `status` is how HTTP says it."""

    def __init__(self, words: str, status: str = "502 Bad Gateway") -> None:
        super().__init__(words)
        self.status = status


def by_host(name: str) -> list[str]:
    """The IPv4 addresses of a name as the host resolves it; raises OSError."""
    found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Resolver:
    """Resolves names for one sandbox of a team."""

    def __init__(self, team_id: str, resolve: Callable[[str], Sequence[str]] = by_host) -> None:
        self._resolve = resolve
        self._room = asyncio.Semaphore(_NAMES_AT_ONCE)
        self._team = _teams.setdefault(team_id, asyncio.Semaphore(_NAMES_OF_A_TEAM))

    async def addresses(self, name: str) -> list[str]:
        """The public addresses of a name, in any order. Raises RefusedError if there is none."""
        try:
            async with asyncio.timeout(SECONDS):
                found = await self._found(name)
        except (OSError, UnicodeError):
            raise RefusedError(f"the name {name} cannot be resolved") from None
        public = [address for address in dict.fromkeys(found) if is_public(address)]
        if not public:
            raise RefusedError(f"the name {name} stands for no public address")
        return random.sample(public, len(public))

    async def _found(self, name: str) -> Sequence[str]:
        await self._room.acquire()
        try:
            await self._team.acquire()
        except BaseException:
            self._room.release()
            raise
        found = asyncio.get_running_loop().run_in_executor(_THREADS, self._resolve, name)
        found.add_done_callback(self._done)
        # Whoever gives up waiting leaves the thread at work, which takes room until it is done.
        return await asyncio.shield(found)

    def _done(self, found: asyncio.Future[Sequence[str]]) -> None:
        self._team.release()
        self._room.release()
        if not found.cancelled():
            found.exception()


def is_public(address: str) -> bool:
    """Whether an address is neither special nor one of the host's own."""
    if within(ipaddress.IPv4Address(address), _NOT_PUBLIC):
        return False
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return True
    return False


async def connect(host: str, port: int, resolver: Resolver) -> socket.socket:
    """A connection to a name or an address. Raises RefusedError."""
    for address in (await candidates(host, resolver))[:_TRIED]:
        with suppress(OSError):
            return await _connected(address, port)
    raise RefusedError(f"{host} does not answer on port {port}")


async def candidates(host: str, resolver: Resolver) -> list[str]:
    """The public addresses that stand behind a name or an address."""
    if not lists.is_address(host):
        return await resolver.addresses(host)
    if not is_public(host):
        raise RefusedError(f"{host} is not a public address")
    return [host]


async def _connected(address: str, port: int) -> socket.socket:
    """Raises OSError, of which TimeoutError is one."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        async with asyncio.timeout(SECONDS):
            await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except BaseException:
        sock.close()
        raise
    return sock
