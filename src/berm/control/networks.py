"""What sandboxes may reach outside: what may be asked for, and changing it while they run."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from berm.control.states import now
from berm.errors import BermError, Code
from berm.models import Egress, Principal, Sandbox, State
from berm.node.egress import lists, names
from berm.node.interface import Node
from berm.store import networks as store
from berm.store import sandboxes
from berm.store.database import Database

_MOST: Final = 500
"""Entries of one list, which are told to the launcher in one packet."""

_MOST_SERVERS: Final = 10
_LONGEST_ECHO: Final = 64


log = logging.getLogger(__name__)


class Networks:
    """The network of a sandbox as it is recorded and as it is in force are the same."""

    def __init__(self, database: Database, node: Node) -> None:
        self._database = database
        self._node = node
        self._changing: Counter[str] = Counter()
        self._locks: dict[str, asyncio.Lock] = {}

    async def start(self) -> None:
        """Put in force what is recorded of the sandboxes that live already."""
        recorded = await self._database.run(store.egresses, now())
        for sandbox_id in recorded.keys() & self._node.running().keys():
            try:
                await self._node.police(sandbox_id, closed(*recorded[sandbox_id]))
            except BermError as error:
                log.error("the network of %s stays as it was: %s", sandbox_id, error)

    async def update(
        self, who: Principal, sandbox_id: str, egress: Egress, allow_internet: bool | None
    ) -> None:
        """Replace all that is said of what a running sandbox may reach; of two at once the later wins whole.

        Raises BermError NOT_FOUND, CONFLICT for a sandbox that does not run now, and what `checked` and
        `Node.police` raise.
        """
        wanted = checked(egress)
        async with self._alone(sandbox_id):
            found = await self._database.run(sandboxes.find, who.team_id, sandbox_id, now())
            self._check_runs(sandbox_id, found)
            await self._node.police(sandbox_id, closed(wanted, allow_internet))
            if not await self._database.run(store.replace, sandbox_id, wanted, allow_internet):
                raise _no_sandbox(sandbox_id)

    def _check_runs(self, sandbox_id: str, found: Sandbox | None) -> None:
        if found is None:
            raise _no_sandbox(sandbox_id)
        if found.state is not State.RUNNING or sandbox_id not in self._node.running():
            raise BermError(
                Code.CONFLICT,
                f"sandbox {sandbox_id} is not running now",
                "its network is changed while it runs",
            )

    @asynccontextmanager
    async def _alone(self, sandbox_id: str) -> AsyncIterator[None]:
        """One change of a sandbox's at a time."""
        lock = self._locks.setdefault(sandbox_id, asyncio.Lock())
        self._changing[sandbox_id] += 1
        try:
            async with lock:
                yield
        finally:
            self._changing[sandbox_id] -= 1
            if not self._changing[sandbox_id]:
                del self._changing[sandbox_id], self._locks[sandbox_id]


def closed(egress: Egress, allow_internet: bool | None) -> Egress:
    """The same with everything denied, if internet access is off."""
    return lists.deny_all(egress) if allow_internet is False else egress


def checked(egress: Egress) -> Egress:
    """The same. Raises BermError INVALID_ARGUMENT naming the field and the entry that cannot be."""
    _check("network.allowOut", egress.allow_out, _is_destination, "an IPv4 address, a network or a host name")
    _check("network.denyOut", egress.deny_out, lists.is_network, "an IPv4 address or network")
    _check("network.dnsServers", egress.dns_servers or (), lists.is_address, "an IPv4 address", _MOST_SERVERS)
    return egress


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


def _no_sandbox(sandbox_id: str) -> BermError:
    return BermError(
        Code.NOT_FOUND,
        f"sandbox {sandbox_id[:_LONGEST_ECHO]!r} not found",
        "it has ended, or it never was: GET /v2/sandboxes",
    )
