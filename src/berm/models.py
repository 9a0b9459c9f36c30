"""Frozen values that cross layers. No behaviour, no I/O."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum, auto

AGENT_PORT = 49983
"""The port inside every sandbox on which its agent answers."""

ENVD_VERSION = "0.6.13"
"""The envd protocol level that the agent speaks; the SDKs unlock features by it."""


class State(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"


class OnTimeout(StrEnum):
    """What happens to a sandbox whose time is over."""

    KILL = "kill"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """What becomes of a sandbox when its time is over, and when somebody wants it again after that."""

    on_timeout: OnTimeout = OnTimeout.KILL
    keep_memory: bool = True
    """Whether a pause at the end of its time keeps its processes."""
    auto_resume: bool = False
    """Whether a request to one of its ports resumes it."""


@dataclass(frozen=True, slots=True)
class Resources:
    cpu_count: int = 2
    memory_mb: int = 1024
    disk_mb: int = 10240
    pids: int = 4096


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a TCP connection to something inside a sandbox goes."""

    host: str
    port: int
    tls: bool = False
    """Whether TLS is spoken there; the certificate is the sandbox's own, and proves nothing."""


@dataclass(frozen=True, slots=True)
class Ingress:
    """How requests from outside reach the ports of a sandbox. Nothing of it holds for the agent's port."""

    traffic_token: str | None = field(default=None, repr=False)
    """What a request must carry; None lets everybody in."""
    mask_host: str = ""
    """The Host that the sandbox sees, in which `${PORT}` stands for the port; empty leaves the client's."""
    https_ports: tuple[int, ...] = ()
    """The ports on which TLS is spoken inside."""


class Credential(StrEnum):
    """What somebody shows to be let in."""

    API_KEY = auto()
    ACCESS_TOKEN = auto()
    ADMIN_TOKEN = auto()


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking."""

    team_id: str
    key_id: str
    """Empty for an admin."""
    by: Credential = Credential.API_KEY


@dataclass(frozen=True, slots=True)
class Limits:
    """What a team may have. None is the server's default; 0 is no limit."""

    max_sandboxes: int | None = None
    """Running at once."""
    creation_rate: int | None = None
    """Begun within a second."""
    max_timeout: int | None = None
    """The longest timeout in seconds; never 0."""


@dataclass(frozen=True, slots=True)
class Template:
    """A root filesystem to start sandboxes from: directory names of its layers, bottom first."""

    template_id: str
    name: str
    build_id: str
    layers: tuple[str, ...]
    created_at: datetime
    resources: Resources = Resources()
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = "user"
    workdir: str = ""
    """Default working directory; empty means the user's home."""
    start_cmd: str = ""
    ready_cmd: str = ""
    is_snapshot: bool = False
    """Whether its topmost layer was taken from a sandbox, which had written it."""


@dataclass(frozen=True, slots=True)
class Mount:
    """Something that is in a sandbox beside its root file system, at the absolute path `target`.

    Exactly one of the three is its content: `layers`, directory names bottom first; `directory`, a kept
    directory of the node by name, or a volume as `volumes/ID`; or `size_mb` MiB of memory. What is written to
    layers or to received files (`files/NAME`) is lost with the sandbox; with `read_only` nothing is written.
    `path` is the part of the content that is mounted, relative and without `..`; it may be a file. Of
    memory it is the name of an empty file, which is mounted alone.
    """

    target: str
    layers: tuple[str, ...] = ()
    directory: str = ""
    size_mb: int = 0
    path: str = ""
    read_only: bool = False
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    """Mode and owner of memory, and of a kept directory when it is made."""


@dataclass(frozen=True, slots=True)
class File:
    """A file that only the sandbox may know, written when it starts; `path` is absolute.

    It lies in memory: that of the last `Mount` over its path, or else of one made for it alone.
    """

    path: str
    content: bytes = field(repr=False)
    mode: int = 0o400
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True)
class Layer:
    """What was kept of what a sandbox wrote or a copy made."""

    name: str
    """Its directory name; empty if nothing was written, and then nothing was kept."""
    size: int
    """Bytes in its files."""


@dataclass(frozen=True, slots=True)
class SocksTls:
    """How a SOCKS5 server proves who it is."""

    server_name: str = ""
    """Empty means the host of its address."""
    ca_cert: str = field(default="", repr=False)
    """Certificates in PEM, one of which has to vouch for it; empty means those that the machine trusts."""


@dataclass(frozen=True, slots=True)
class Socks:
    """A SOCKS5 server (RFC 1928) that a sandbox's connections go through."""

    address: str
    """`host:port`."""
    username: str = ""
    password: str = field(default="", repr=False)
    tls: SocksTls | None = None
    """None means that it does not speak TLS."""


@dataclass(frozen=True, slots=True)
class IdentityToken:
    """What a token of a sandbox's is for."""

    audience: str
    token_type: str


EVERYWHERE = "0.0.0.0/0"
"""What a sandbox without internet is denied."""


@dataclass(frozen=True, slots=True)
class Egress:
    """What a sandbox may reach outside, as asked for: IPv4 addresses and networks; names in `allow_out` only.

    What is allowed wins over what is denied. Nothing opens the host's own networks.
    """

    allow_out: tuple[str, ...] = ()
    deny_out: tuple[str, ...] = ()
    dns_servers: tuple[str, ...] | None = None
    """Name servers that stay open when names are allowed; None leaves the host's."""
    proxy: Socks | None = None
    rules: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    """By host name, the headers to set on requests to it."""
    secret: Callable[[str], Awaitable[str]] | None = field(default=None, repr=False, compare=False)
    """Gives the value of a secret that rules name; never recorded."""
    tokens: Mapping[str, IdentityToken] = field(default_factory=dict)
    """By name, the tokens that rules may name; an update leaves them."""
    identity: Callable[[str], str] | None = field(default=None, repr=False, compare=False)
    """Makes a token of that name; never recorded."""

    team_id: str = field(default="", compare=False)
    """Whose sandbox it is, who shares with others what the host does for it; recorded elsewhere."""

    @property
    def plain(self) -> bool:
        """Whether it is all or nothing, which needs no rules of its own."""
        return not (self.allow_out or self.proxy or self.rules or set(self.deny_out) - {EVERYWHERE})


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """All that a node needs to start one sandbox."""

    sandbox_id: str
    layers: tuple[str, ...]
    resources: Resources
    allow_internet: bool
    env: Mapping[str, str]
    user: str
    workdir: str
    access_token: str | None
    """The token every agent request must carry; None leaves the agent open."""
    mounts: tuple[Mount, ...] = ()
    files: tuple[File, ...] = ()
    kept: bool = False
    """Whether what it writes is to become a layer: a little slower to start, and no inode number in it is
    one of `layers`."""
    generation: int = 0
    """For one that was paused without its processes: how often it had been paused by then."""
    written: str = ""
    """A layer that counts as what it has written itself; it is not changed."""
    egress: Egress | None = None
    """What it may reach outside, if more is to be said of that than `allow_internet`."""


@dataclass(frozen=True, slots=True)
class Running:
    """A sandbox that a node is running now."""

    sandbox_id: str
    address: str
    """The sandbox's IPv4 address as the host reaches it."""
    gateway: str = ""
    """The host's own address on the sandbox's wire."""


@dataclass(frozen=True, slots=True)
class Paused:
    """A sandbox that a node keeps and does not run."""

    generation: int
    """How often it has been paused, this time included."""
    has_processes: bool
    """Whether its processes are kept; without them it begins anew from its files."""


@dataclass(frozen=True, slots=True)
class Boot:
    """What a sandbox's processes start from, beside its files."""

    env: Mapping[str, str] = field(default_factory=dict)
    inherited: Mapping[str, str] = field(default_factory=dict)
    """The environment of its template, which `env` has changed and added to."""
    user: str = "user"
    workdir: str = ""
    start_cmd: str = ""
    ready_cmd: str = ""


@dataclass(frozen=True, slots=True)
class VolumeMount:
    """A volume of the sandbox's team, by name, and the path inside that it is mounted on."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Volume:
    """A directory that outlives sandboxes, and that several may have mounted at once."""

    volume_id: str
    team_id: str
    name: str
    """No other of the team has it."""
    token: str = field(repr=False)
    """What opens its content; kept as it is, since it is shown again."""
    created_at: datetime


@dataclass(frozen=True, slots=True)
class VolumeEntry:
    """What is at a path of a volume; a symbolic link stands for itself. Names need not be UTF-8."""

    path: str
    """Absolute, the volume being the root."""
    kind: str
    """file, directory, symlink, or unknown for all else."""
    size: int
    mode: int
    """Without the kind."""
    uid: int
    gid: int
    accessed: datetime
    modified: datetime
    changed: datetime
    target: str | None = None
    """Where a symbolic link leads."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What is recorded of one sandbox. Times are UTC."""

    sandbox_id: str
    template_id: str
    template_name: str
    team_id: str
    state: State
    started_at: datetime
    end_at: datetime
    resources: Resources
    metadata: Mapping[str, str]
    access_token: str | None
    allow_internet: bool | None
    """As asked for at creation; None when it was left to the default, which allows it."""
    build_id: str = ""
    layers: tuple[str, ...] = ()
    """What it was started from: kept as long as it lives, whatever becomes of its template."""
    boot: Boot = field(default_factory=Boot, repr=False)
    lifecycle: Lifecycle = Lifecycle()
    lifetime: int = 0
    """Seconds that it was given when it was made."""
    generation: int = 0
    """How often it has been paused."""
    keeps_memory: bool = False
    """Of a paused one: whether its processes are kept."""
    ingress: Ingress = Ingress()
    egress: Egress = field(default_factory=Egress)
    """Whatever is secret in it is sealed."""
    volume_mounts: tuple[VolumeMount, ...] = ()


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key or an access token as it may be shown: the secret itself is never kept."""

    key_id: str
    team_id: str
    name: str
    prefix: str
    """`e2b_` or `sk_e2b_` and two characters, for the mask."""
    suffix: str
    """The last four characters, for the mask."""
    length: int
    created_at: datetime
    last_used: datetime | None = None
    kind: Credential = Credential.API_KEY


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a sandbox's log."""

    timestamp: datetime
    level: str
    message: str
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a sandbox uses at one moment, in bytes."""

    at: float
    """Seconds since 1970."""
    cpu_seconds: float
    """Processor time since it began."""
    memory: int
    cache: int
    """Files that are kept in memory as long as there is room; not part of `memory`."""
    disk: int
    """What it wrote; 0 where nothing counts that."""


class NodeStatus(StrEnum):
    READY = "ready"
    DRAINING = "draining"
    STANDBY = "standby"


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system; sizes in bytes."""

    mount_point: str
    device: str
    kind: str
    used: int
    total: int


@dataclass(frozen=True, slots=True)
class HugePages:
    """Numbers of pages, and the bytes of one."""

    total: int
    used: int
    reserved: int
    size: int


@dataclass(frozen=True, slots=True)
class MachineLoad:
    """How busy a machine is; sizes in bytes."""

    cpu_count: int
    cpu_percent: float
    """Of all its processors together: 0 to 100."""
    memory_total: int
    memory_used: int
    huge_pages: HugePages
    disks: tuple[Disk, ...]


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine is."""

    cpu_family: str
    cpu_model: str
    cpu_model_name: str
    cpu_architecture: str


@dataclass(frozen=True, slots=True)
class NodeState:
    """Whether a node takes new sandboxes, and since when that is so."""

    node_id: str
    status: NodeStatus
    changed_at: datetime
