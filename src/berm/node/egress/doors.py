"""The doors of this machine's sandboxes: one for each whose connections the proxy has to see."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from berm.errors import BermError, Code
from berm.models import Egress
from berm.node.egress import authority, dial, socks
from berm.node.egress.connections import Connections
from berm.node.egress.door import Door
from berm.node.egress.interception import Interception
from berm.node.egress.judge import Judge


class Doors:
    """One sandbox is changed by one caller at a time."""

    def __init__(self) -> None:
        self._doors: dict[str, Door] = {}
        self._connections = Connections()
        self._interception: Interception | None = None

    def start(self, authority_file: Path) -> None:
        """Be ready to open TLS. Raises what `authority.at` raises."""
        if self._interception is None:
            self._interception = Interception(authority.at(authority_file))

    @property
    def certificate(self) -> str:
        """What sandboxes with rules have to trust, in PEM. Raises BermError INTERNAL before `start`."""
        return self._ready().authority.certificate

    async def check(self, egress: Egress | None) -> None:
        """Raises BermError INVALID_ARGUMENT for a SOCKS server that is nowhere public."""
        if egress and egress.proxy:
            try:
                await socks.server(egress.proxy, dial.Resolver(egress.team_id))
            except dial.RefusedError as refusal:
                raise BermError(Code.INVALID_ARGUMENT, f"network.egressProxy.address: {refusal}") from None

    @asynccontextmanager
    async def changing(self, sandbox_id: str, gateway: str, egress: Egress) -> AsyncIterator[None]:
        """What has to be there before the firewall changes comes first, what ends by it comes last.

        If the change fails, connections are decided as before. Raises OSError when it cannot listen.
        """
        judge, door = Judge(egress), self._doors.get(sandbox_id)
        before = door.judge if door else None
        if judge.wanted and door is None:
            door = Door(judge, self._connections, self._ready())
            door.open(gateway)
            self._doors[sandbox_id] = door
        try:
            yield
        except BaseException:
            if before is None:
                await self.close(sandbox_id)
            raise
        if not judge.wanted:
            await self.close(sandbox_id)
        elif door:
            door.change(judge)

    def _ready(self) -> Interception:
        if self._interception is None:
            raise BermError(Code.INTERNAL, "the certificate authority has not been read")
        return self._interception

    async def close(self, sandbox_id: str) -> None:
        """Reset every connection of one that is over, or needs no door. Safe to call again."""
        if door := self._doors.pop(sandbox_id, None):
            await door.close()

    async def close_all(self) -> None:
        """Connections through the proxy end; sandboxes live on, and find nobody until the next server."""
        for sandbox_id in tuple(self._doors):
            await self.close(sandbox_id)
