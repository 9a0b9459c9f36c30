"""What an image says about how to run it: the `config` of the OCI image specification."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Healthcheck:
    """Docker's addition to the image configuration: `test` is [], ["NONE"] or begins with CMD or CMD-SHELL.

    Times are in nanoseconds; 0 stands for the default.
    """

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The part of an OCI image configuration that a sandbox, or an image built on it, needs."""

    digest: str = ""
    """Of the manifest or index that the image's name meant; empty for a bootstrapped tree."""
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    """As in the image: a name or a uid, with or without `:group`; empty means root."""
    workdir: str = ""
    cmd: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    shell: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    stop_signal: str = ""
    onbuild: tuple[str, ...] = ()
    health: Healthcheck | None = None
