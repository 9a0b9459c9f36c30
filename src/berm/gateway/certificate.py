"""The certificate of the TLS port, read anew when its files change."""

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Final

from berm.errors import BermError, Code

_LOOK_SECONDS: Final = 5.0

log = logging.getLogger(__name__)


class Certificate:
    """A chain and its key in PEM files. `context` is for the listener, for as long as it listens.

    Connections that are open keep the certificate that they began with. While there is none, as before the
    first one has been obtained, handshakes fail.
    """

    def __init__(self, chain: Path, key: Path) -> None:
        self.context = _context()
        self.context.sni_callback = self._choose
        self._chain = chain
        self._key = key
        self._current: ssl.SSLContext | None = None
        self._seen: object = None

    def load(self) -> None:
        """Read the files. Raises BermError INVALID_ARGUMENT; then the certificate before them stays."""
        self._seen = self._versions()
        fresh = _context()
        try:
            fresh.load_cert_chain(self._chain, self._key)
        except (OSError, ssl.SSLError) as failure:
            raise BermError(
                Code.INVALID_ARGUMENT,
                f"the certificate {self._chain} with the key {self._key} cannot be used: {failure}",
                "BERM_TLS_CERT and BERM_TLS_KEY name PEM files that belong together",
            ) from None
        self._current = fresh

    async def follow(self) -> None:
        """Load the files whenever they change."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Load the files if they have changed; what is half written is tried again when that changes."""
        if self._versions() == self._seen:
            return
        try:
            self.load()
        except BermError as failure:
            log.warning("%s", failure)
        else:
            log.info("the certificate %s has been read", self._chain)

    def _versions(self) -> list[tuple[int, int, int] | None]:
        return [_version(self._chain), _version(self._key)]

    def _choose(
        self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext
    ) -> int | None:
        if self._current is None:
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = self._current
        return None


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
