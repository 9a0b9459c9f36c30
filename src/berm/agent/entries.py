"""What clients are told of a file, a directory or a link."""

import os
import stat
from os.path import basename

from protobuf.wkt import Timestamp

from berm.agent import metadata
from berm.agent._gen.filesystem_pb import EntryInfo, FileType
from berm.agent.errors import printable
from berm.agent.users import Names


def describe(path: str, names: Names) -> EntryInfo:
    """The entry at an absolute path; a link is told with its target's type. Raises OSError."""
    link = os.lstat(path)
    target, symlink = _follow(path, link)
    return EntryInfo(
        name=printable(basename(path) or "/"),
        type=_type(target),
        path=printable(path),
        size=link.st_size,
        mode=stat.S_IMODE(target.st_mode) & 0o777 if target else 0,
        permissions=stat.filemode(link.st_mode),
        owner=printable(names.user(link.st_uid)),
        group=printable(names.group(link.st_gid)),
        modified_time=_timestamp(link.st_mtime_ns),
        symlink_target=symlink,
        metadata={printable(key): value for key, value in metadata.read(path).items()},
    )


def _follow(path: str, link: os.stat_result) -> tuple[os.stat_result | None, str | None]:
    if not stat.S_ISLNK(link.st_mode):
        return link, None
    try:
        return os.stat(path), printable(os.path.realpath(path))
    except OSError:
        return None, printable(os.path.realpath(path))


def _type(target: os.stat_result | None) -> FileType:
    if target is None:
        return FileType.UNSPECIFIED
    if stat.S_ISDIR(target.st_mode):
        return FileType.DIRECTORY
    return FileType.FILE if stat.S_ISREG(target.st_mode) else FileType.UNSPECIFIED


def _timestamp(nanoseconds: int) -> Timestamp:
    seconds, nanos = divmod(nanoseconds, 1_000_000_000)
    return Timestamp(seconds=seconds, nanos=nanos)
