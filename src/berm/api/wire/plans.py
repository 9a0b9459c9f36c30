"""Answers about images and about what a build would do."""

from berm.api.wire.common import Json, maybe_instant
from berm.api.wire.history import settings
from berm.control.preview import Last, Preview, StepPreview
from berm.errors import BermError
from berm.templates.base import ResolvedImage


def image(reference: str, found: ResolvedImage | BermError) -> Json:
    if isinstance(found, BermError):
        return {"reference": reference, "code": found.code, "message": str(found)}
    return {"reference": reference, "digest": found.digest, "config": settings(found.settings)}


def preview(found: Preview) -> Json:
    newest = found.newest
    return {
        "steps": [_step(step) for step in found.steps],
        "files": dict(found.files),
        "template": newest
        and {"templateID": newest.template_id, "number": newest.number, "buildID": newest.build_id},
    }


def _step(step: StepPreview) -> Json:
    return {
        "name": step.name,
        "stage": step.stage,
        "text": step.text,
        "line": step.line,
        "state": step.state,
        "reason": step.reason,
        "last": _last(step.last) if step.last else None,
    }


def _last(last: Last) -> Json:
    return {
        "durationMs": last.duration_ms,
        "sizeBytes": last.size,
        "finishedAt": maybe_instant(last.finished_at),
    }
