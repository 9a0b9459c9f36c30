"""Frozen values that cross layers. No behaviour, no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

AGENT_PORT = 49983
"""The port inside every sandbox on which its agent answers."""

ENVD_VERSION = "0.6.13"
"""The envd protocol level that the agent speaks; the SDKs unlock features by it."""


class State(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"


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


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking."""

    team_id: str
    key_id: str


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


@dataclass(frozen=True, slots=True)
class Running:
    """A sandbox that a node is running now."""

    sandbox_id: str
    address: str
    """The sandbox's IPv4 address as the host reaches it."""


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


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as it may be shown: the secret itself is never kept."""

    key_id: str
    team_id: str
    name: str
    prefix: str
    """`e2b_` and the first two characters, for the mask."""
    suffix: str
    """The last four characters, for the mask."""
    length: int
    created_at: datetime
    last_used: datetime | None = None


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a sandbox's log."""

    timestamp: datetime
    level: str
    message: str
    fields: Mapping[str, str] = field(default_factory=dict)
