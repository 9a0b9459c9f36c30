"""The files that a sandbox is given at its start and that nobody else knows."""

import base64
import os
from collections.abc import Mapping, Sequence
from typing import Any


def write(files: Sequence[Mapping[str, Any]]) -> None:
    """Write them with their modes and owners, and make the directories they need. Raises OSError."""
    for file in files:
        os.makedirs(os.path.dirname(file["path"]), mode=0o755, exist_ok=True)
        _write(file)


def _write(file: Mapping[str, Any]) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(file["path"], flags, 0o600)
    with open(fd, "wb", buffering=0) as target:
        os.fchown(fd, file["uid"], file["gid"])
        os.fchmod(fd, file["mode"])
        target.write(base64.b64decode(file["content"]))
