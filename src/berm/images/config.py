"""What an image says about how to run it."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The part of an OCI image configuration that a sandbox needs."""

    digest: str = ""
    """Of the manifest or index that the image's name meant; empty for a bootstrapped tree."""
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    """As in the image: a name or a uid, with or without `:group`; empty means root."""
    workdir: str = ""
    cmd: tuple[str, ...] = ()
