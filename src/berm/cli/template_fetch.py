"""What ADD takes from the network: the client downloads it, and it goes to the server like other files."""

import hashlib
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import httpx

from berm.cli import output
from berm.errors import BermError, Code
from berm.templates.context import FILE_LIMIT, Context, Selection
from berm.templates.inputs import Download

_MODE = 0o600
"""Of a downloaded file, as the Dockerfile reference says of ADD."""


def fetched(wanted: Iterable[Download], stack: ExitStack) -> dict[str, Selection]:
    """Each as files to send, by URL; they are there until `stack` is closed. Raises BermError."""
    return {one.url: _fetch(one, stack) for one in wanted}


def _fetch(download: Download, stack: ExitStack) -> Selection:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="berm-add-")))
    file = folder / download.name
    digest = hashlib.new(download.checksum.partition(":")[0] or "sha256")
    try:
        with output.activity(f"Downloading {download.url}"):
            _save(download.url, file, digest)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise BermError(Code.UNAVAILABLE, f"{download.url} could not be downloaded: {error}") from None
    found = f"{digest.name}:{digest.hexdigest()}"
    if download.checksum not in ("", found):
        raise BermError(
            Code.INVALID_ARGUMENT,
            f"{download.url} is {found}, and not {download.checksum}",
            "look what has changed there before you change --checksum",
        )
    file.chmod(_MODE)
    return Context(folder).select(["."])


def _save(url: str, file: Path, digest: "hashlib._Hash") -> None:
    with httpx.stream("GET", url, follow_redirects=True, timeout=60) as response, file.open("xb") as out:
        response.raise_for_status()
        left = FILE_LIMIT
        for piece in response.iter_bytes():
            left -= len(piece)
            if left < 0:
                raise BermError(Code.TOO_LARGE, f"{url} has more than {FILE_LIMIT:,} bytes")
            digest.update(piece)
            out.write(piece)
