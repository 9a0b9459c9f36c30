"""What the launcher tells the agent, and the part of it `/init` may change later."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self


@dataclass(frozen=True)
class AgentConfig:
    """One sandbox's settings; `workdir` "" is the user's home, `access_token` None asks clients for none."""

    access_token: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = "root"
    workdir: str = ""
    cpu_count: int = 1
    memory_mb: int = 512
    disk_mb: int = 0
    files: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    """What is written at the start: `path`, `content` in base64, `mode`, `uid`, `gid`."""

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Raises ValueError or TypeError if `text` is not an object of these fields."""
        return cls(**json.loads(text))


class Settings:
    """The current values of what clients may set through `/init`."""

    def __init__(self, config: AgentConfig) -> None:
        self.configure(config)

    def configure(self, config: AgentConfig) -> None:
        """Begin anew with these."""
        self.config = replace(config, files=())
        self.access_token = config.access_token
        self.env = dict(config.env)
        self.user = config.user
        self.workdir = config.workdir
