"""The E2B answers about template builds as plain dicts, named after their schemas in the OpenAPI file."""

from collections.abc import Iterable

from berm.api.wire.common import Json, instant, printable
from berm.models import ENVD_VERSION
from berm.store.builds import Build, BuildLine


def template_build(build: Build) -> Json:
    """`TemplateBuild`."""
    finished = {"finishedAt": instant(build.finished_at)} if build.finished_at else {}
    return {
        "buildID": build.build_id,
        "status": build.status,
        "createdAt": instant(build.created_at),
        "updatedAt": instant(build.updated_at),
        **finished,
        **size(build),
        "envdVersion": ENVD_VERSION,
    }


def size(build: Build) -> Json:
    """What its sandboxes get."""
    return {
        "cpuCount": build.resources.cpu_count,
        "memoryMB": build.resources.memory_mb,
        "diskSizeMB": build.resources.disk_mb,
    }


def build_info(build: Build, lines: Iterable[BuildLine]) -> Json:
    """`TemplateBuildInfo`."""
    entries = [build_line(line) for line in lines]
    return {
        "templateID": build.template_id,
        "buildID": build.build_id,
        "status": build.status,
        "logs": [entry["message"] for entry in entries],
        "logEntries": entries,
        **_reason(build),
    }


def build_line(line: BuildLine) -> Json:
    """`BuildLogEntry`."""
    step = {"step": line.step} if line.step is not None else {}
    return {
        "timestamp": instant(line.timestamp),
        "level": line.level,
        "message": printable(line.message),
        **step,
    }


def _reason(build: Build) -> Json:
    if build.reason is None:
        return {}
    step = {"step": build.reason_step} if build.reason_step is not None else {}
    return {"reason": {"message": printable(build.reason), "logEntries": [], **step}}
