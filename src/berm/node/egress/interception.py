"""TLS that ends at the host and begins anew, for the hosts that a sandbox has rules for and no others."""

import asyncio
import ssl
from typing import Final

from berm.node.egress import dial, exchange, names, secured
from berm.node.egress.authority import Authority
from berm.node.egress.secured import Secured
from berm.node.egress.streams import Channel

_HEAD_SECONDS: Final = 10
"""How long a client may take to say what it asks for, once it has shaken hands."""

_MISDIRECTED: Final = "421 Misdirected Request"


class Interception:
    """What is the same for all sandboxes: who vouches for the host, and whom it believes itself."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self._trust = ssl.create_default_context()
        self._trust.set_alpn_protocols(["http/1.1"])

    async def begin(self, inside: Channel, name: str, received: bytes) -> Secured:
        """The sandbox's side, which took the host for `name`. Raises OSError."""
        context = await self.authority.context(names.normal(name))
        return await secured.server(inside, context, received)

    async def verified(self, outside: Channel, name: str) -> Secured:
        """The server's side. Raises dial.RefusedError if it does not prove its name."""
        try:
            return await secured.client(outside, self._trust, names.normal(name))
        except ssl.SSLCertVerificationError as error:
            raise dial.RefusedError(
                f"the certificate of {name} cannot be verified: {error.verify_message}"
            ) from None
        except OSError:
            raise dial.RefusedError(f"{name} does not speak TLS as it should") from None


async def request(inside: Channel, name: str) -> exchange.Opening:
    """What is asked for under TLS: of the host that the connection is to, and no other."""
    async with asyncio.timeout(_HEAD_SECONDS):
        opening = await exchange.http(inside)
    if opening.wrong:
        raise dial.RefusedError(f"that is no request that can be sent on: {opening.wrong}", "400 Bad Request")
    if opening.reader is None:
        raise ConnectionError("it ended before it asked for anything")
    if opening.name is None or names.normal(opening.name) != names.normal(name):
        raise dial.RefusedError(
            f"the request names another host than the connection, which is to {name}", _MISDIRECTED
        )
    return opening
