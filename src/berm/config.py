"""The settings table and the one frozen Config made from it. Nothing else reads the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from berm.errors import BermError, Code


@dataclass(frozen=True, slots=True)
class Setting:
    """One row: the Config field, its type, its default as text, and a sentence of help."""

    field: str
    kind: type
    default: str
    help: str

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"BERM_{self.field.upper()}"


SETTINGS = (
    Setting("home", Path, "/var/lib/berm", "State directory: database, keys, templates, sandboxes."),
    Setting("host", str, "127.0.0.1", "Address the server listens on."),
    Setting("port", int, "49980", "Port the server listens on; API and sandbox traffic share it."),
    Setting("domain", str, "", "Domain of sandbox host names; empty means localhost:PORT."),
    Setting("tls_cert", str, "", "Certificate chain in PEM; with it TLS is spoken on a second port."),
    Setting("tls_key", str, "", "Private key of the certificate, in PEM."),
    Setting("tls_host", str, "", "Address of the TLS port; empty means that of BERM_HOST."),
    Setting("tls_port", int, "49443", "Port on which the server speaks TLS, if it has a certificate."),
    Setting(
        "acme_authority", str, "", "URL of the ACME directory that a certificate for BERM_DOMAIN comes from."
    ),
    Setting("acme_email", str, "", "Where that authority writes to; its terms are agreed to."),
    Setting("acme_hook", str, "", "Program that sets and removes TXT records for it."),
    Setting(
        "identity_issuer",
        str,
        "",
        "URL of this server for who checks sandboxes' tokens; empty means its own.",
    ),
    Setting("database_url", str, "", "SQLAlchemy URL; empty means SQLite in the state directory."),
    Setting(
        "secrets_key", str, "", "File with the key of stored secrets; empty means one in the state directory."
    ),
    Setting("base_image", str, "e2bdev/base:latest", "Image that the base template is pulled from."),
    Setting("debian_mirror", str, "", "Debian mirror for bootstrapping; empty means the host's own sources."),
    Setting("pool_gb", int, "64", "Largest size of the storage pool image, in GiB; it is sparse."),
    Setting("subnet", str, "10.213.0.0/16", "IPv4 network that sandbox addresses are taken from."),
    Setting("uid_base", int, "536870912", "First host user id of the ranges given to sandboxes."),
    Setting("warm_slots", int, "32", "Network and user namespaces kept ready for new sandboxes."),
    Setting("default_timeout", int, "300", "Seconds a sandbox lives when its creator names no timeout."),
    Setting("max_timeout", int, "86400", "Longest timeout in seconds that a caller may ask for."),
    Setting("max_sandboxes", int, "2000", "Most sandboxes that may run at once."),
    Setting("team_max_sandboxes", int, "0", "Most sandboxes that a team may run at once; 0 means no limit."),
    Setting(
        "team_creation_rate", int, "0", "Most sandboxes a team may start in one second; 0 means no limit."
    ),
    Setting("volume_gb", int, "10", "Largest size of a volume, in GiB."),
    Setting("max_builds", int, "4", "Most template builds that go on at once; others wait."),
    Setting("build_timeout", int, "3600", "Longest time in seconds that a template build may take."),
    Setting("ready_timeout", int, "300", "Seconds in which a start command has to get ready."),
    Setting("max_upload_mb", int, "8192", "Largest upload of the files for one build step, in MiB."),
    Setting("keep_builds", int, "20", "Newest builds of each template that are kept."),
    Setting("keep_days", int, "30", "Days that builds are kept however many there are."),
    Setting("cache_days", int, "14", "Days that a layer is kept in the build cache after its last use."),
    Setting("log_level", str, "info", "debug, info, warning or error."),
)


_HTTPS = 443


@dataclass(frozen=True, slots=True)
class Config:
    """What the operator wants; one field for each row of SETTINGS."""

    home: Path
    host: str
    port: int
    domain: str
    tls_cert: str
    tls_key: str
    tls_host: str
    tls_port: int
    acme_authority: str
    acme_email: str
    acme_hook: str
    identity_issuer: str
    database_url: str
    secrets_key: str
    base_image: str
    debian_mirror: str
    pool_gb: int
    subnet: str
    uid_base: int
    warm_slots: int
    default_timeout: int
    max_timeout: int
    max_sandboxes: int
    team_max_sandboxes: int
    team_creation_rate: int
    volume_gb: int
    max_builds: int
    build_timeout: int
    ready_timeout: int
    max_upload_mb: int
    keep_builds: int
    keep_days: int
    cache_days: int
    log_level: str

    @property
    def public_domain(self) -> str:
        """What sandbox host names end in, with the port if it is not the usual one."""
        if not self.tls or ":" in self.domain:
            return self.domain or f"localhost:{self.port}"
        name = self.domain or "localhost"
        return name if self.tls_port == _HTTPS else f"{name}:{self.tls_port}"

    @property
    def tls(self) -> bool:
        """Whether there is a TLS port."""
        return bool(self.tls_cert or self.tls_key or self.acme_authority)

    @property
    def tls_dir(self) -> Path:
        """A certificate from an ACME authority, its key, and the account's."""
        return self.home / "tls"

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.home / 'berm.db'}"

    @property
    def run_dir(self) -> Path:
        """Sockets and process records."""
        return self.home / "run"

    @property
    def pool_dir(self) -> Path:
        """Template layers and the sandboxes' writable layers."""
        return self.home / "pool"

    @property
    def launcher_socket(self) -> Path:
        return self.run_dir / "launcher.sock"

    @property
    def key_file(self) -> Path:
        """The first API key, readable by root only; `berm env` prints it."""
        return self.home / "key"

    @property
    def admin_token_file(self) -> Path:
        """The token of who runs the server, readable by root only."""
        return self.home / "admin-token"

    @property
    def secrets_key_file(self) -> Path:
        """The key that stored secrets are sealed with, readable by root only."""
        return Path(self.secrets_key) if self.secrets_key else self.home / "secrets.key"

    @property
    def networks_key_file(self) -> Path:
        """The key that passwords of sandboxes' proxies are sealed with, readable by root only."""
        return self.home / "networks.key"

    @property
    def authority_file(self) -> Path:
        """The certificate authority that sandboxes with rules trust, with its key, readable by root only."""
        return self.home / "authority.pem"

    @property
    def identity_key_file(self) -> Path:
        """The key that tokens of sandboxes are signed with, readable by root only."""
        return self.home / "identity.pem"

    @property
    def public_url(self) -> str:
        """Where clients elsewhere reach the API."""
        return f"https://api.{self.public_domain}" if self.tls else self.url

    @property
    def url(self) -> str:
        """Where local clients reach the server."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host  # noqa: S104 - compared, not bound
        return f"http://{host}:{self.port}"


def _parse(setting: Setting, text: str) -> Any:
    try:
        return setting.kind(text)
    except ValueError:
        raise BermError(
            Code.INVALID_ARGUMENT,
            f"{setting.variable} is {text!r}, which is not a {setting.kind.__name__}",
            f"unset it, or set it like {setting.variable}={setting.default}",
        ) from None


def load(environ: Mapping[str, str] = os.environ) -> Config:
    """Read every setting. Raises BermError INVALID_ARGUMENT naming the variable that cannot be read."""
    return Config(**{s.field: _parse(s, environ.get(s.variable, s.default)) for s in SETTINGS})


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """Which server a command talks to, and as whom. Where no key is set, the state directory's is used."""

    url: str
    sandbox_url: str
    """Where sandbox traffic goes; the same address unless the environment says otherwise."""
    key: str = field(repr=False)
    admin_token: str = field(repr=False, default="")


def load_client(config: Config, url: str = "", environ: Mapping[str, str] = os.environ) -> ClientConfig:
    """`url` if given, else BERM_URL, else E2B_API_URL, else this machine's server."""
    choices = (
        (url, ""),
        (environ.get("BERM_URL", ""), environ.get("BERM_SANDBOX_URL", "")),
        (environ.get("E2B_API_URL", ""), environ.get("E2B_SANDBOX_URL", "")),
        (config.url, ""),
    )
    api, traffic = next(pair for pair in choices if pair[0])
    key = environ.get("BERM_API_KEY") or environ.get("E2B_API_KEY", "")
    admin_token = environ.get("BERM_ADMIN_TOKEN", "")
    return ClientConfig(api.rstrip("/"), (traffic or api).rstrip("/"), key, admin_token)


@dataclass(frozen=True, slots=True)
class Runner:
    """The CI job that a command runs in, as GitHub Actions tells it; empty outside one."""

    active: bool = False
    actor: str = ""
    workspace: str = ""
    """The checked-out repository."""
    summary: str = ""
    """The file that the job's summary is appended to."""


def load_runner(environ: Mapping[str, str] = os.environ) -> Runner:
    names = {"actor": "GITHUB_ACTOR", "workspace": "GITHUB_WORKSPACE", "summary": "GITHUB_STEP_SUMMARY"}
    if environ.get("GITHUB_ACTIONS") != "true":
        return Runner()
    return Runner(active=True, **{name: environ.get(variable, "") for name, variable in names.items()})


def variable(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """A variable that the user named as the source of a value; None if it is not set."""
    return environ.get(name)
