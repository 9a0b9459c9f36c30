"""Tar archives from anybody: unpacked by GNU tar where it can do no harm, or refused with a sentence."""

import re
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from berm.errors import BermError, Code
from berm.images import process, sealed


@dataclass(frozen=True, slots=True)
class Limits:
    """Most that an archive may unpack to."""

    size: int = 8 << 30
    """Bytes of all files, holes included, and of the archive without its compression."""
    entries: int = 2_000_000


_COMPRESSIONS: Final = {
    b"\x1f\x8b": ("gzip", "-dc"),
    b"BZh": ("bzip2", "-dc"),
    b"\xfd7zXZ\x00": ("xz", "-dc", "--memlimit-decompress=256MiB"),
    b"\x28\xb5\x2f\xfd": ("zstd", "-dcq", "--memory=256MB"),
}
"""What a compressed file begins with, and what unpacks it."""

_TOO_LARGE: Final = "is too large without its compression"

# What is behind the limit is not let through: that ends a bomb, whatever tar would make of it.
_PIPELINE: Final = rf"""
set -o pipefail
limit=$1 archive=$2 target=$3 owners=$4
shift 4
"$@" <"$archive" | {{
    dd bs=1M iflag=fullblock,count_bytes count="$limit" status=none
    if [ "$(head -c 1 | wc -c)" -ne 0 ]; then
        echo "{_TOO_LARGE}" >&2
        exit 1
    fi
}} | tar --extract --file=- --directory="$target" -vv --quoting-style=escape --numeric-owner "$owners" \
    --same-permissions --delay-directory-restore --no-xattrs --no-acls --no-selinux --warning=no-timestamp
"""

_MEMBER = re.compile(
    r"(?P<kind>\S)[-rwxsStT]{9} \S+/\S+ +(?P<size>\d+(?:,\d+)?) \S+ \S+ (?P<name>.*)", re.DOTALL
)
_KINDS: Final = {"b": "a device", "c": "a device", "p": "a named pipe"}
_UNPACKED: Final = "-dlh"
_FULL: Final = ("No space left", "quota exceeded", "Wrote only")
_LEADS_OUT: Final = "tar: Removing leading"
_NOISE: Final = "tar: Exiting with failure"
_KEPT: Final = 5
"""Lines of what else tar says."""


async def unpack(archive: Path, target: Path, limits: Limits, *, owners: bool = False) -> None:
    """Unpack an archive, compressed or not, into the empty directory `target`.

    Permissions are kept, set-user-ID bits too; extended attributes are not; everything belongs to root
    unless `owners`. Links are made as they are, wherever they lead. Raises BermError INVALID_ARGUMENT for
    one that is broken or holds devices or names that lead out, TOO_LARGE, NO_SPACE.
    """
    members = _Members(limits)
    owner = "--same-owner" if owners else "--no-same-owner"
    pipeline = ["bash", "-c", _PIPELINE, "bash", str(limits.size), str(archive), str(target), owner]
    seal = [sys.executable, "-I", "-S", str(Path(sealed.__file__)), str(target)]
    await process.run([*seal, *pipeline, *_decompressor(archive)], members.feed, members.failed)


async def is_archive(path: Path) -> bool:
    """Whether a file is a tar archive, compressed or not, by what it begins with."""
    command = ["bash", "-c", '"${@:2}" <"$1" 2>/dev/null | head -c 512', "bash", str(path)]
    try:
        tarfile.TarInfo.frombuf(await process.read([*command, *_decompressor(path)]), "utf-8", "replace")
    except tarfile.HeaderError:
        return False
    return True


def _decompressor(archive: Path) -> tuple[str, ...]:
    with archive.open("rb") as file:
        begin = file.read(max(map(len, _COMPRESSIONS)))
    return next((tool for magic, tool in _COMPRESSIONS.items() if begin.startswith(magic)), ("cat",))


class _Members:
    """Looks at each member as tar comes to it, and keeps what else is said."""

    def __init__(self, limits: Limits) -> None:
        self._left = limits
        self._said: list[str] = []

    def feed(self, line: str) -> None:
        if found := _MEMBER.match(line):
            self._check(found["kind"], found["size"], found["name"])
        elif line.startswith(_LEADS_OUT):
            raise _refused(f"it has names that lead out of it ({line.removeprefix('tar: ')})")
        elif len(self._said) < _KEPT and not line.startswith(_NOISE):
            self._said.append(line)

    def _check(self, kind: str, size: str, name: str) -> None:
        if kind not in _UNPACKED:
            raise _refused(f"{name} is {_KINDS.get(kind, 'of an unknown kind')}")
        self._left = Limits(self._left.size - int(size), self._left.entries - 1)
        if self._left.size < 0 or self._left.entries < 0:
            raise _too_large()

    def failed(self, _command: Sequence[str], _lines: Sequence[str]) -> BermError:
        said = " / ".join(self._said) or "it is broken"
        if _TOO_LARGE in said:
            return _too_large()
        if any(words in said for words in _FULL):
            return BermError(Code.NO_SPACE, "there is no space left to unpack the archive")
        return _refused(said)


def _refused(why: str) -> BermError:
    return BermError(
        Code.INVALID_ARGUMENT,
        f"the archive cannot be unpacked: {why}",
        "send a tar of files, directories and links",
    )


def _too_large() -> BermError:
    return BermError(Code.TOO_LARGE, "the archive unpacks to more than is allowed", "copy less in one step")
