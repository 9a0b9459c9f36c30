"""The E2B answers about volumes as plain dicts, named after their schemas in the OpenAPI files."""

import posixpath

from berm.api.wire.common import Json, instant, printable
from berm.models import Volume, VolumeEntry


def volume(volume: Volume) -> Json:
    """`Volume`."""
    return {"volumeID": volume.volume_id, "name": volume.name}


def with_token(volume_: Volume) -> Json:
    """`VolumeAndToken`."""
    return {**volume(volume_), "token": volume_.token}


def entry(found: VolumeEntry) -> Json:
    """`VolumeEntryStat`. Names from a sandbox may hold what UTF-8 cannot."""
    shown = {
        "name": printable(posixpath.basename(found.path) or "/"),
        "type": found.kind,
        "path": printable(found.path),
        "size": found.size,
        "mode": found.mode,
        "uid": found.uid,
        "gid": found.gid,
        "atime": instant(found.accessed),
        "mtime": instant(found.modified),
        "ctime": instant(found.changed),
    }
    return shown if found.target is None else {**shown, "target": printable(found.target)}
