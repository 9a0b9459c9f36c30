"""What sandboxes may reach outside, kept with their records and changed while they run."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from berm.control import egress as rules
from berm.control import sealing
from berm.control.identity import Identities
from berm.control.locks import Locks
from berm.control.sealing import Seal
from berm.control.states import no_sandbox, now
from berm.errors import BermError, Code
from berm.models import Egress, IdentityToken, Principal, Sandbox, State
from berm.node.egress import transform
from berm.node.interface import Node
from berm.store import networks as store
from berm.store import sandboxes
from berm.store.database import Database

log = logging.getLogger(__name__)


SecretOf = Callable[[str, str], Awaitable[str]]
"""Gives the value of a team's secret: of the team's id, and of its name. Raises BermError NOT_FOUND."""


class Networks:
    """The network of a sandbox as it is recorded and as it is in force are the same."""

    def __init__(
        self,
        database: Database,
        node: Node,
        secret: SecretOf | None = None,
        identities: Identities | None = None,
    ) -> None:
        """Without `secret`, rules may name no secrets, and without `identities` no tokens."""
        self._identities = identities
        self._database = database
        self._node = node
        self._secret = secret
        self._seal: Seal | None = None
        self._locks = Locks()

    async def start(self, key_file: Path) -> None:
        """Put in force what is recorded of the sandboxes that live already.

        What cannot be opened, as the key is another, stays closed until it is said anew.
        """
        self._seal = _seal(key_file)
        recorded = await self._database.run(store.egresses, now())
        for sandbox_id in recorded.keys() & self._node.running().keys():
            try:
                team_id, egress, allow_internet = recorded[sandbox_id]
                egress = self.checked(team_id, sandbox_id, self.opened(sandbox_id, egress))
                await self._node.police(sandbox_id, rules.closed(egress, allow_internet))
            except BermError as error:
                log.error("the network of %s stays as it was: %s", sandbox_id, error)

    async def update(
        self, who: Principal, sandbox_id: str, egress: Egress, allow_internet: bool | None
    ) -> None:
        """Replace all that is said of what a running sandbox may reach; of two at once the later wins whole.

        Raises BermError NOT_FOUND, CONFLICT for a sandbox that does not run now, and what `checked` and
        `Node.police` raise.
        """
        async with self._locks.of(sandbox_id):
            found = await self._database.run(sandboxes.find, who.team_id, sandbox_id, now())
            sandbox = self._runs(sandbox_id, found)
            tokens = sandbox.egress.tokens
            wanted = self.checked(who.team_id, sandbox_id, replace(egress, tokens=tokens))
            if wanted.rules:
                await self._node.trust(sandbox_id, sandbox.access_token)
            await self._node.police(sandbox_id, rules.closed(wanted, allow_internet))
            if not await self._database.run(
                store.put, sandbox_id, self.sealed(sandbox_id, wanted), allow_internet
            ):
                raise no_sandbox(sandbox_id)

    def checked(self, team_id: str, sandbox_id: str, egress: Egress) -> Egress:
        """As the node gets it.

        Raises what `egress.checked` raises, and BermError NOT_OFFERED for secrets where nobody gives any.
        """
        rules.checked(egress)
        egress = replace(egress, team_id=team_id)
        if self._identities:
            maker = partial(self._token, self._identities, team_id, sandbox_id, egress.tokens)
            egress = replace(egress, identity=maker)
        if self._secret:
            return replace(egress, secret=partial(self._secret, team_id))
        if transform.secrets(egress.rules):
            raise BermError(Code.NOT_OFFERED, "network.rules with ${e2b.secrets...} is not offered yet")
        return egress

    @staticmethod
    def _token(
        identities: Identities, team_id: str, sandbox_id: str, tokens: Mapping[str, IdentityToken], name: str
    ) -> str:
        return identities.token(team_id, sandbox_id, tokens[name].audience)

    def shown(self, sandbox: Sandbox) -> Sandbox:
        """As its owner may see it: without the proxy's password."""
        egress = sandbox.egress
        if egress.proxy:
            egress = replace(egress, proxy=replace(egress.proxy, password=""))
        return replace(sandbox, egress=self.opened(sandbox.sandbox_id, egress))

    def sealed(self, sandbox_id: str, egress: Egress) -> Egress:
        """As it is recorded. Raises BermError INTERNAL before `start`."""
        return rules.sealed(egress, self._key(), sandbox_id)

    def in_force(self, sandbox: Sandbox) -> Egress:
        """What a recorded sandbox may reach. Raises BermError INTERNAL if it was sealed with another key."""
        opened = self.opened(sandbox.sandbox_id, sandbox.egress)
        egress = self.checked(sandbox.team_id, sandbox.sandbox_id, opened)
        return rules.closed(egress, sandbox.allow_internet)

    def opened(self, sandbox_id: str, egress: Egress) -> Egress:
        """What `sealed` was given. Raises BermError INTERNAL if that was with another key."""
        return rules.opened(egress, self._key(), sandbox_id)

    def _key(self) -> Seal:
        if self._seal is None:
            raise BermError(Code.INTERNAL, "the key of what is sealed has not been read")
        return self._seal

    def _runs(self, sandbox_id: str, found: Sandbox | None) -> Sandbox:
        if found is None:
            raise no_sandbox(sandbox_id)
        if found.state is not State.RUNNING or sandbox_id not in self._node.running():
            raise BermError(
                Code.CONFLICT,
                f"sandbox {sandbox_id} is not running now",
                "its network is changed while it runs",
            )
        return found


def _seal(key_file: Path) -> Seal:
    return sealing.read(key_file) if key_file.exists() else sealing.make(key_file)
