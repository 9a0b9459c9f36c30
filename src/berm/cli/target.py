"""Which server a command is about, and the clients for it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import typer

from berm import config
from berm.config import ClientConfig, Config
from berm.errors import BermError, Code

if TYPE_CHECKING:
    from berm.cli.client import Client
    from berm.cli.envd import Agent

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Target:
    """This machine's settings and the server that was chosen."""

    config: Config
    client: ClientConfig

    @property
    def key(self) -> str:
        """The API key; the one in the state directory is only for servers of this machine.

        Raises BermError UNAUTHENTICATED when there is none.
        """
        return self.client.key or self._own("API key", "BERM_API_KEY", self.config.key_file)

    @property
    def admin_token(self) -> str:
        """The admin token, in the same way. Raises BermError UNAUTHENTICATED when there is none."""
        return self.client.admin_token or self._own(
            "admin token", "BERM_ADMIN_TOKEN", self.config.admin_token_file
        )

    def _own(self, what: str, variable: str, file: Path) -> str:
        if _host(self.client.url) not in {*_LOOPBACK, self.config.host}:
            raise BermError(
                Code.UNAUTHENTICATED,
                f"no {what} for {self.client.url}",
                f"set {variable} to one of its own",
            )
        return _read(what, variable, file)

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine, as far as its address tells."""
        return _host(self.client.url) in _LOOPBACK

    @property
    def is_named(self) -> bool:
        """Whether somebody chose the server: else it is this machine's, which need not run."""
        return self.client.url != self.config.url

    def api(self) -> "Client":
        from berm.cli.client import Client  # noqa: PLC0415 - httpx takes 120 ms that `berm env` need not wait for

        return Client(self.client.url, self.key)

    def admin(self) -> "Client":
        from berm.cli.client import Client  # noqa: PLC0415

        return Client(self.client.url, admin_token=self.admin_token)

    def agent(self, sandbox_id: str, user: str = "") -> "Agent":
        """A client of the agent of a sandbox, which need not be running."""
        from berm.cli.envd import Agent  # noqa: PLC0415

        with self.api() as api:
            detail = api.get("sandboxes", sandbox_id)
        return Agent(self.client.sandbox_url, sandbox_id, detail.get("envdAccessToken"), user)


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def local_key(settings: Config) -> str:
    """The first key of this machine's server. Raises BermError UNAUTHENTICATED if it cannot be read."""
    return _read("API key", "BERM_API_KEY", settings.key_file)


def _read(what: str, variable: str, file: Path) -> str:
    """What is in a file of the state directory, whose place a variable can take."""
    try:
        return file.read_text().strip()
    except OSError as error:
        raise BermError(
            Code.UNAUTHENTICATED,
            f"no {what}: {variable} is not set and {file} cannot be read: {error.strerror}",
            f"set {variable}, or on the server's machine run `berm up` as root",
        ) from None


def target(ctx: typer.Context) -> Target:
    """The target that the root command's options and the environment name."""
    found = ctx.find_object(Target)
    if found is None:
        settings = config.load()
        return Target(settings, config.load_client(settings))
    return found
