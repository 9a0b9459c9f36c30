"""Users' own metadata on files: X-Metadata-* headers kept as extended attributes."""

import errno
import os
from collections.abc import Mapping

from berm.agent.errors import AgentError, Kind

HEADER = "x-metadata-"
_PREFIX = "user.e2b."
_MAX_KEY = 246
_MAX_TOTAL = 4096
_UNSUPPORTED = {errno.ENOTSUP, errno.ENODATA, errno.EPERM, errno.ENOENT, errno.EACCES}


def from_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The metadata a request carries. Raises AgentError where it could not be stored."""
    metadata = {
        name.removeprefix(HEADER): value for name, value in headers.items() if name.startswith(HEADER)
    }
    for key, value in metadata.items():
        if not _printable(key) or not _printable(value) or not 0 < len(key) <= _MAX_KEY:
            raise AgentError(Kind.INVALID, f"metadata {key[:_MAX_KEY]!r} is not short printable ASCII")
    if sum(len(_PREFIX) + len(key) + len(value) for key, value in metadata.items()) > _MAX_TOTAL:
        raise AgentError(Kind.INVALID, f"metadata is larger than {_MAX_TOTAL} bytes in all")
    return metadata


def _printable(text: str) -> bool:
    return text.isascii() and (text.isprintable() or not text)


def read(file: str | int) -> dict[str, str]:
    """A file's metadata; none where the filesystem keeps no extended attributes."""
    try:
        return {
            name.removeprefix(_PREFIX): os.getxattr(file, name).decode("utf-8", "replace")
            for name in os.listxattr(file)
            if name.startswith(_PREFIX)
        }
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return {}
        raise


def replace(fd: int, metadata: Mapping[str, str]) -> None:
    """Make `metadata` all the metadata of an open file. Raises OSError."""
    for key in read(fd).keys() - metadata.keys():
        os.removexattr(fd, _PREFIX + key)
    for key, value in metadata.items():
        os.setxattr(fd, _PREFIX + key, value.encode())
