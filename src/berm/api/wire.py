"""The E2B answers as plain dicts, made from models; named after their schemas in the OpenAPI file."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from berm.models import ENVD_VERSION, ApiKey, LogLine, Sandbox
from berm.observability.logs import known_level
from berm.store.builds import Build, BuildLine
from berm.store.templates import Summary

CLIENT_ID = "berm"
"""Required in answers and without meaning: every sandbox is reached through this server."""

EVERYWHERE = "0.0.0.0/0"
"""What a sandbox without internet is denied."""

Json = dict[str, Any]


def sandbox(sandbox: Sandbox, domain: str) -> Json:
    """`Sandbox`: what create and connect answer."""
    return {
        "templateID": sandbox.template_id,
        "sandboxID": sandbox.sandbox_id,
        "alias": sandbox.template_name,
        "clientID": CLIENT_ID,
        "envdVersion": ENVD_VERSION,
        **_token(sandbox),
        "domain": domain,
    }


def listed(sandbox: Sandbox) -> Json:
    """`ListedSandbox`."""
    return {
        "templateID": sandbox.template_id,
        "alias": sandbox.template_name,
        "sandboxID": sandbox.sandbox_id,
        "clientID": CLIENT_ID,
        "startedAt": instant(sandbox.started_at),
        "endAt": instant(sandbox.end_at),
        "cpuCount": sandbox.resources.cpu_count,
        "memoryMB": sandbox.resources.memory_mb,
        "diskSizeMB": sandbox.resources.disk_mb,
        "metadata": dict(sandbox.metadata),
        "state": sandbox.state,
        "envdVersion": ENVD_VERSION,
    }


def detail(sandbox: Sandbox, domain: str) -> Json:
    """`SandboxDetail`."""
    denied = [EVERYWHERE] if sandbox.allow_internet is False else []
    return {
        **listed(sandbox),
        **_token(sandbox),
        "domain": domain,
        "allowInternetAccess": sandbox.allow_internet,
        "network": {"allowPublicTraffic": True, "allowOut": [], "denyOut": denied},
        "lifecycle": {"onTimeout": "kill", "autoResume": False},
    }


def _token(sandbox: Sandbox) -> Json:
    return {"envdAccessToken": sandbox.access_token} if sandbox.access_token else {}


def log_entry(line: LogLine) -> Json:
    """`SandboxLogEntry`. Text from a sandbox may hold what UTF-8 cannot."""
    return {
        "timestamp": instant(line.timestamp),
        "level": known_level(line.level),
        "message": _printable(line.message),
        "fields": {_printable(k): _printable(v) for k, v in line.fields.items()},
    }


def log_lines(entries: Iterable[Json]) -> list[Json]:
    """`SandboxLog`: every entry once more, as a line of JSON."""
    return [
        {
            "timestamp": e["timestamp"],
            "line": json.dumps({**e["fields"], "level": e["level"], "message": e["message"]}),
        }
        for e in entries
    ]


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def template(summary: Summary) -> Json:
    """`Template`."""
    build = summary.build
    return {
        **_template_head(summary),
        "buildID": build.build_id,
        "buildStatus": build.status,
        "buildCount": summary.build_count,
        "cpuCount": build.resources.cpu_count,
        "memoryMB": build.resources.memory_mb,
        "diskSizeMB": build.resources.disk_mb,
        "envdVersion": ENVD_VERSION,
        "createdBy": None,
    }


def template_with_builds(summary: Summary, builds: Iterable[Build]) -> Json:
    """`TemplateWithBuilds`; newer SDKs want all of `Template` in it."""
    return {**template(summary), "builds": [_build(b) for b in builds]}


def _template_head(summary: Summary) -> Json:
    record = summary.record
    return {
        "templateID": record.template_id,
        "public": record.public,
        "aliases": [record.name],
        "names": [record.name],
        "createdAt": instant(record.created_at),
        "updatedAt": instant(record.updated_at),
        "lastSpawnedAt": record.last_spawned_at and instant(record.last_spawned_at),
        "spawnCount": record.spawn_count,
    }


def _build(build: Build) -> Json:
    finished = {"finishedAt": instant(build.finished_at)} if build.finished_at else {}
    return {
        "buildID": build.build_id,
        "status": build.status,
        "createdAt": instant(build.created_at),
        "updatedAt": instant(build.updated_at),
        **finished,
        "cpuCount": build.resources.cpu_count,
        "memoryMB": build.resources.memory_mb,
        "diskSizeMB": build.resources.disk_mb,
        "envdVersion": ENVD_VERSION,
    }


def build_info(build: Build, lines: Iterable[BuildLine]) -> Json:
    """`TemplateBuildInfo`."""
    entries = [_build_line(line) for line in lines]
    return {
        "templateID": build.template_id,
        "buildID": build.build_id,
        "status": build.status,
        "logs": [entry["message"] for entry in entries],
        "logEntries": entries,
        **_reason(build),
    }


def _build_line(line: BuildLine) -> Json:
    step = {"step": line.step} if line.step is not None else {}
    return {
        "timestamp": instant(line.timestamp),
        "level": line.level,
        "message": _printable(line.message),
        **step,
    }


def _reason(build: Build) -> Json:
    if build.reason is None:
        return {}
    step = {"step": build.reason_step} if build.reason_step is not None else {}
    return {"reason": {"message": _printable(build.reason), "logEntries": [], **step}}


def api_key(key: ApiKey) -> Json:
    """`TeamAPIKey`."""
    return {
        "id": key.key_id,
        "name": key.name,
        "mask": {
            "prefix": "e2b_",
            "valueLength": key.length - len("e2b_"),
            "maskedValuePrefix": key.prefix.removeprefix("e2b_"),
            "maskedValueSuffix": key.suffix,
        },
        "createdAt": instant(key.created_at),
        "createdBy": None,
        "lastUsed": key.last_used and instant(key.last_used),
    }


def instant(moment: datetime) -> str:
    """RFC 3339."""
    return moment.isoformat().replace("+00:00", "Z")
