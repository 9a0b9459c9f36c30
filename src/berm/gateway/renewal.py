"""Keeps a certificate from an ACME authority fresh; `berm.gateway.acme` obtains it, in its own process."""

import asyncio
import importlib.util
import logging
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from berm.errors import BermError, Code

_LOOK_SECONDS: Final = 3600
"""Between two looks whether it is due, and after a failure: authorities limit how often one may fail."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """What to obtain, from whom, and the directory that it is kept in."""

    authority: str
    """URL of the authority's ACME directory."""
    email: str
    hook: str
    """Program that is run with `present` or `cleanup`, a record's name and its value."""
    domain: str
    directory: Path

    @property
    def names(self) -> list[str]:
        return [self.domain, f"*.{self.domain}"]

    @property
    def chain(self) -> Path:
        return self.directory / "chain.pem"

    @property
    def key(self) -> Path:
        return self.directory / "key.pem"

    @property
    def account(self) -> Path:
        return self.directory / "account.pem"

    @property
    def command(self) -> list[str]:
        """The program that obtains it if it is due."""
        options = [f"--{name}={value}" for name, value in asdict(self).items()]
        return [sys.executable, "-P", "-m", "berm.gateway.acme", *options]

    def check(self) -> None:
        """Raises BermError INVALID_ARGUMENT or NOT_OFFERED for what could never be obtained."""
        if not self.domain:
            raise BermError(
                Code.INVALID_ARGUMENT,
                "BERM_ACME_AUTHORITY is set and BERM_DOMAIN is not",
                "set BERM_DOMAIN to the domain that the certificate is for",
            )
        if not os.access(self.hook, os.X_OK):
            raise BermError(
                Code.INVALID_ARGUMENT,
                f"BERM_ACME_HOOK is {self.hook!r}, which is not a program",
                "set it to the path of one that sets TXT records: docs/ports.md",
            )
        if importlib.util.find_spec("acme") is None:
            raise BermError(
                Code.NOT_OFFERED,
                "BERM_ACME_AUTHORITY is set and the packages for it are not installed",
                "pip install 'berm[acme]'",
            )


async def keep(order: Order) -> None:
    """Obtain the certificate when it is due, for ever."""
    while True:
        await _renew(order)
        await asyncio.sleep(_LOOK_SECONDS)


async def _renew(order: Order) -> None:
    process = await asyncio.create_subprocess_exec(*order.command, stdin=asyncio.subprocess.DEVNULL)
    try:
        if await process.wait():
            log.error("the certificate for %s could not be renewed; trying again later", order.domain)
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
