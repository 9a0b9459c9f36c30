"""Running skopeo(1): who asks, how long it may take, and what its errors mean.

Mirrors, credentials and registries without TLS are the machine's own settings: containers-registries.conf(5)
and containers-auth.json(5).
"""

import ast
import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from berm.errors import BermError, Code
from berm.images import process
from berm.images.lines import Output
from berm.images.login import Login, auth_file

ANSWER_SECONDS: Final = 20.0
"""How long one question to a registry may take."""
IDLE_SECONDS: Final = 60.0
"""How long nothing may come of an image that is being fetched; skopeo itself would wait for ever."""

_LONGEST: Final = 1000
"""Characters of an error: the registry has a say in it."""
_LOG_LINE = re.compile(r'time=\S+ level=\w+ msg=(".*")')
_NO_IMAGE: Final = "check the image's name and tag"
_NO_ACCESS: Final = (
    "check the image's name, or log in: with the build's own login, or skopeo login on the server"
)
MORE_SPACE: Final = "make room, or give the pool more with BERM_POOL_GB"
_WRONG_BYTES: Final = "the registry, or a mirror or proxy before it, sends something else: ask who runs it"
_CAUSES: Final = (
    ("manifest unknown", Code.NOT_FOUND, _NO_IMAGE),
    ("name unknown", Code.NOT_FOUND, _NO_IMAGE),
    ("blob unknown", Code.NOT_FOUND, "the registry has lost a part of the image: push it again"),
    ("invalid reference format", Code.INVALID_ARGUMENT, "write it as name, name:tag or name@sha256:digest"),
    ("must be lowercase", Code.INVALID_ARGUMENT, "write it as name, name:tag or name@sha256:digest"),
    ("unauthorized", Code.PERMISSION_DENIED, _NO_ACCESS),
    ("authentication required", Code.PERMISSION_DENIED, _NO_ACCESS),
    ("resource is denied", Code.PERMISSION_DENIED, _NO_ACCESS),
    ("403 (Forbidden)", Code.PERMISSION_DENIED, _NO_ACCESS),
    ("did not match", Code.INVALID_ARGUMENT, _WRONG_BYTES),
    ("does not match", Code.INVALID_ARGUMENT, _WRONG_BYTES),
    ("size mismatch", Code.INVALID_ARGUMENT, _WRONG_BYTES),
    ("no space left on device", Code.NO_SPACE, MORE_SPACE),
    ("disk quota exceeded", Code.NO_SPACE, MORE_SPACE),
    ("toomanyrequests", Code.UNAVAILABLE, "the registry wants fewer requests: log in, or wait"),
)
"""What registries and skopeo say, and what it means; anything else is the network's or the registry's."""


async def inspect(address: str, login: Login | None, *what: str) -> bytes:
    """What a registry says about an image, named without a transport.

    Raises BermError: NOT_FOUND, INVALID_ARGUMENT, PERMISSION_DENIED, or UNAVAILABLE in ANSWER_SECONDS.
    """
    with _credentials(address, login) as (options, descriptors):
        limit = f"{ANSWER_SECONDS}s"
        command = ["skopeo", "--command-timeout", limit, "inspect", *options, *what, f"docker://{address}"]
        return await process.read(command, failed, descriptors)


async def copy(address: str, login: Login | None, layout: Path, progress: Output) -> None:
    """Fetch an image into a new OCI layout, as `image`, with layers that umoci can unpack.

    Raises BermError: what `inspect` raises, UNAVAILABLE when nothing comes for IDLE_SECONDS, NO_SPACE.
    """
    with _credentials(address, login) as (options, descriptors):
        # umoci knows no zstd.
        gzip = ("--dest-compress-format", "gzip", "--dest-compress-level", "1")
        command = ["skopeo", "copy", *options, *gzip, f"docker://{address}", f"oci:{layout}:image"]
        async with _arriving(address, layout):
            await process.run(command, _without_log(progress), failed, layout, descriptors)


@contextmanager
def _credentials(address: str, login: Login | None) -> Iterator[tuple[list[str], list[int]]]:
    """The options that make skopeo log in, and the descriptors it needs for that."""
    if login is None:
        yield [], []
        return
    with auth_file(address, login) as descriptor:
        yield ["--authfile", f"/proc/self/fd/{descriptor}"], [descriptor]


@asynccontextmanager
async def _arriving(address: str, directory: Path) -> AsyncIterator[None]:
    """Break off what fills a directory when the directory has not changed for IDLE_SECONDS."""
    try:
        async with asyncio.timeout(IDLE_SECONDS) as limit:
            watch = asyncio.create_task(_watch(directory, limit))
            try:
                yield
            finally:
                watch.cancel()
    except TimeoutError:
        raise BermError(
            Code.UNAVAILABLE,
            f"nothing came of {address} for {IDLE_SECONDS:g} s",
            "check the network and the registry, then build again",
        ) from None


async def _watch(directory: Path, limit: asyncio.Timeout) -> None:
    loop = asyncio.get_running_loop()
    seen = 0
    while True:
        await asyncio.sleep(IDLE_SECONDS / 20)
        if (size := _size(directory)) != seen:
            seen = size
            limit.reschedule(loop.time() + IDLE_SECONDS)


def _size(directory: Path) -> int:
    """Of the files there are; one that goes meanwhile does not count."""
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.lstat().st_size
        except FileNotFoundError:
            continue
    return total


def _without_log(progress: Output) -> Output:
    def output(line: str) -> None:
        if not _LOG_LINE.match(line):
            progress(line)

    return output


def failed(_command: Sequence[str], lines: Sequence[str]) -> BermError:
    """The error that skopeo's last words stand for."""
    said = _said(lines[-1])[:_LONGEST] if lines else "skopeo said nothing"
    if "deadline exceeded" in said:
        said = f"the registry did not answer within {ANSWER_SECONDS:g} s: {said}"
    for words, code, hint in _CAUSES:
        if words in said:
            return BermError(code, said, hint)
    return BermError(Code.UNAVAILABLE, said, "check the network, the registry and registries.conf(5)")


def _said(line: str) -> str:
    found = _LOG_LINE.match(line)
    if not found:
        return line
    try:
        # Go quotes as Python does, for all that a registry can have put into it.
        return str(ast.literal_eval(found[1]))
    except (ValueError, SyntaxError):
        return found[1].strip('"')
