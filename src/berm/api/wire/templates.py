"""The E2B answers about templates as plain dicts, named after their schemas in the OpenAPI file."""

from collections.abc import Iterable

from berm.api.wire.builds import size, template_build
from berm.api.wire.common import Json, instant, maybe_instant
from berm.control.tags import Assigned, RolledBack
from berm.models import ENVD_VERSION
from berm.store.builds import Build
from berm.store.tags import Tag
from berm.store.templates import Summary


def template(summary: Summary) -> Json:
    """`Template`, and `TemplateLegacy`, which is a part of it."""
    record, build = summary.record, summary.build
    return {
        "templateID": record.template_id,
        "public": record.public,
        "aliases": [record.name],
        "names": [record.name],
        "createdAt": instant(record.created_at),
        "updatedAt": instant(record.updated_at),
        "lastSpawnedAt": maybe_instant(record.last_spawned_at),
        "spawnCount": record.spawn_count,
        "buildID": build.build_id,
        "buildStatus": build.status,
        "buildCount": summary.build_count,
        **size(build),
        "envdVersion": ENVD_VERSION,
        "createdBy": None,
    }


def template_with_builds(summary: Summary, builds: Iterable[Build]) -> Json:
    """`TemplateWithBuilds`; newer SDKs want all of `Template` in it."""
    return {**template(summary), "builds": [template_build(b) for b in builds]}


def requested(summary: Summary, build: Build) -> Json:
    """`TemplateRequestResponseV3`."""
    record = summary.record
    return {
        "templateID": record.template_id,
        "buildID": build.build_id,
        "public": record.public,
        "names": [record.name],
        "aliases": [record.name],
        "tags": list(build.tags),
    }


def assigned(found: Assigned) -> Json:
    """`AssignedTemplateTags`."""
    return {"tags": list(found.tags), "buildID": found.build_id, "number": found.number}


def tag(found: Tag) -> Json:
    """`TemplateTag`."""
    return {
        "tag": found.tag,
        "buildID": found.build_id,
        "createdAt": instant(found.created_at),
        "number": found.number,
    }


def rolled_back(found: RolledBack) -> Json:
    return {"tags": list(found.tags), "from": found.from_number, "to": found.to_number}
