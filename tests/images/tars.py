"""Tar archives as wrong as an attacker makes them."""

import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Member:
    name: str
    content: bytes = b""
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    mode: int = 0o644
    owner: tuple[int, int] = (0, 0)
    size: int | None = None
    """What the header says, if it is not the truth."""


def tar(members: Iterable[Member]) -> bytes:
    buffer = io.BytesIO()
    for member in members:
        info = tarfile.TarInfo(member.name)
        info.type, info.linkname, info.mode = member.kind, member.link, member.mode
        info.uid, info.gid = member.owner
        info.size = len(member.content) if member.size is None else member.size
        info.devmajor, info.devminor = 1, 3
        buffer.write(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
        buffer.write(member.content + b"\0" * (-len(member.content) % 512))
    return buffer.getvalue() + b"\0" * 10240


def file(name: str, content: bytes = b"x", mode: int = 0o644, owner: tuple[int, int] = (0, 0)) -> Member:
    return Member(name, content, mode=mode, owner=owner)


def directory(name: str, mode: int = 0o755) -> Member:
    return Member(name, kind=tarfile.DIRTYPE, mode=mode)


def symlink(name: str, target: str) -> Member:
    return Member(name, kind=tarfile.SYMTYPE, link=target)


def hardlink(name: str, target: str) -> Member:
    return Member(name, kind=tarfile.LNKTYPE, link=target)


def special(name: str, kind: bytes) -> Member:
    return Member(name, kind=kind)
