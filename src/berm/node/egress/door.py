"""The host's transparent proxy: where the redirected connections of one sandbox come in."""

import asyncio
import ipaddress
import logging
import socket
import struct
from dataclasses import replace
from typing import Final

from berm.launcher.firewall import PROXY_PORT
from berm.node.egress import dial, exchange, idle, interception, socks, streams, transform
from berm.node.egress.connections import OF_SANDBOX, Connections
from berm.node.egress.interception import Interception
from berm.node.egress.judge import HTTP, Asked, Judge, Target
from berm.node.egress.streams import Channel, Stream

IDLE_SECONDS: Final = 15 * 60
"""How long nothing may pass over a connection."""

_HEAD_SECONDS: Final = 10
"""How long a client may take to name where it goes."""

_PAUSE_SECONDS: Final = 0.1

_ORIGINAL_DESTINATION: Final = 80
"""SO_ORIGINAL_DST of linux/netfilter_ipv4.h."""

log = logging.getLogger(__name__)


class Door:
    """Listens on the host's end of one sandbox's wire, where nobody else can send to.

    It knows what that sandbox may reach, and needs to know nothing else of it.
    """

    def __init__(self, judge: Judge, connections: Connections, interception: Interception) -> None:
        self.judge = judge
        self._connections = connections
        self._interception = interception
        self._team_id = judge.egress.team_id
        self._resolver = dial.Resolver(self._team_id)
        self._known: dict[asyncio.Task[None], tuple[Asked, Target] | None] = {}
        self._accepting: asyncio.Task[None] | None = None

    def open(self, gateway: str) -> None:
        """Begin to listen. Raises OSError."""
        listener = socket.create_server((gateway, PROXY_PORT), backlog=OF_SANDBOX)
        listener.setblocking(False)
        self._accepting = asyncio.get_running_loop().create_task(self._accept(listener))
        self._accepting.add_done_callback(lambda _: listener.close())

    def change(self, judge: Judge) -> None:
        """Decide like this from now on, and reset the connections that would go elsewhere, or nowhere."""
        self.judge = judge
        for task, known in self._known.items():
            if known and judge.target(known[0]) != known[1]:
                task.cancel()

    async def close(self) -> None:
        """Reset every connection and listen no more."""
        tasks = [task for task in (self._accepting, *self._known) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(listener)
            except OSError:  # no descriptor is free just now
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if not self._connections.take(self._team_id, len(self._known)):
                streams.refuse(sock)
                continue
            task = loop.create_task(self._serve(sock))
            self._known[task] = None
            task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[None]) -> None:
        del self._known[task]
        self._connections.give_back(self._team_id)
        if not task.cancelled() and (failure := task.exception()):
            log.error("a connection of a sandbox's: %s", failure, exc_info=failure)

    async def _serve(self, sock: socket.socket) -> None:
        """One connection, from its first byte to its end; what breaks in it breaks it alone."""
        try:
            asked = _asked(sock)
            inside = await Stream.over(sock)
        except OSError:
            sock.close()
            return
        try:
            with idle.limited(sock, IDLE_SECONDS):
                await self._pass_on(inside, asked)
            await inside.close()
        except* OSError:
            pass
        finally:
            inside.reset()

    async def _pass_on(self, inside: Channel, asked: Asked) -> None:
        """Raises OSError when a side breaks, or when there is no way and no words to say so."""
        opening = exchange.Opening()
        if self.judge.reads(asked):
            async with asyncio.timeout(_HEAD_SECONDS):
                opening = await (exchange.http if asked.port == HTTP else exchange.tls)(inside)
        try:
            target = self._target(replace(asked, name=opening.name), opening)
            await (self._intercept if target.opened else self._exchange)(inside, opening, target)
        except dial.RefusedError as refusal:
            if not opening.is_http:
                raise
            await streams.farewell(inside, exchange.page(refusal.status, str(refusal)))

    async def _intercept(self, inside: Channel, opening: exchange.Opening, target: Target) -> None:
        """Answer for the server, and say under TLS what it then says."""
        secured = await self._interception.begin(inside, target.host, opening.data)
        try:
            await self._exchange(secured, await interception.request(secured, target.host), target)
        except dial.RefusedError as refusal:
            await streams.farewell(secured, exchange.page(refusal.status, str(refusal)))

    async def _exchange(self, inside: Channel, opening: exchange.Opening, target: Target) -> None:
        headers = await transform.resolved(target.headers, self.judge.egress)
        outside = await self._dial(target)
        try:
            await exchange.between(inside, outside, opening, headers)
            await outside.close()
        finally:
            outside.reset()

    def _target(self, asked: Asked, opening: exchange.Opening) -> Target:
        target = self.judge.target(asked)
        if target is None and opening.wrong:
            raise dial.RefusedError(
                f"that is no request that can be sent on: {opening.wrong}", "400 Bad Request"
            )
        if target is None:
            raise dial.RefusedError(
                f"this sandbox may not reach {asked.name or asked.address}", "403 Forbidden"
            )
        # From here on a change of what is allowed finds it.
        if task := asyncio.current_task():
            self._known[task] = asked, target
        return target

    async def _dial(self, target: Target) -> Channel:
        outside = await self._reached(target)
        return await self._interception.verified(outside, target.host) if target.opened else outside

    async def _reached(self, target: Target) -> Channel:
        host = target.host if target.listed else await self._listed(target.host)
        if target.proxy:
            return await socks.connect(target.proxy, host, target.port, self._resolver)
        return await Stream.over(await dial.connect(host, target.port, self._resolver))

    async def _listed(self, name: str) -> str:
        """An address that a name stands for and the lists allow."""
        for address in await dial.candidates(name, self._resolver):
            if self.judge.policy.reaches(ipaddress.IPv4Address(address)):
                return address
        raise dial.RefusedError(f"this sandbox may not reach {name}", "403 Forbidden")


def _asked(sock: socket.socket) -> Asked:
    """Where a redirected connection was sent to (getsockopt(2) of netfilter's)."""
    port, address = struct.unpack("!2xH4s8x", sock.getsockopt(socket.SOL_IP, _ORIGINAL_DESTINATION, 16))
    return Asked(socket.inet_ntoa(address), port)
