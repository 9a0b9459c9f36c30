"""Answers about what was built: by whom, of what, how long it took, and what became of it."""

from collections.abc import Collection
from dataclasses import asdict, is_dataclass

from pydantic.alias_generators import to_camel

from berm.api.wire.builds import size
from berm.api.wire.common import Json, instant, maybe_instant, printable
from berm.control.history import Stats
from berm.images import diff
from berm.images.diff import Difference, SettingChange
from berm.store.builds import Build, StepRecord
from berm.templates.plan import Settings


def entry(build: Build, tags: Collection[str]) -> Json:
    """One of a list; `tags` are those that stand for it now."""
    return {
        "number": build.number,
        "buildID": build.build_id,
        "templateID": build.template_id,
        "status": build.status,
        "tags": sorted(tags),
        "commit": build.commit,
        "actor": build.actor,
        "digest": build.digest,
        "createdAt": instant(build.created_at),
        "startedAt": maybe_instant(build.started_at),
        "finishedAt": maybe_instant(build.finished_at),
        "durationMs": build.duration_ms,
        "cachedSteps": sum(step.cached for step in build.steps),
        "steps": len(build.steps),
        "sizeBytes": build.size,
        "reason": None if build.reason is None else printable(build.reason),
        "reasonStep": build.reason_step,
        "cause": build.cause,
        **size(build),
    }


def detail(build: Build, tags: Collection[str]) -> Json:
    """The same, with its steps, settings and layers."""
    return {
        **entry(build, tags),
        "steps": [_step(step) for step in build.steps],
        "settings": settings(build.settings),
        "layers": list(build.layers),
    }


def settings(found: Settings) -> Json:
    return {
        "env": dict(found.env),
        "user": found.user,
        "workdir": found.workdir,
        "cmd": list(found.cmd),
        "entrypoint": list(found.entrypoint),
        "shell": list(found.shell),
        "labels": dict(found.labels),
        "ports": list(found.ports),
        "volumes": list(found.volumes),
        "stopSignal": found.stop_signal,
        "onbuild": list(found.onbuild),
        "health": asdict(found.health) if found.health else None,
        "startCmd": found.start_cmd,
        "readyCmd": found.ready_cmd,
    }


def _step(step: StepRecord) -> Json:
    return {
        "name": step.name,
        "text": step.text,
        "line": step.line,
        "cached": step.cached,
        "state": step.state,
        "durationMs": step.duration_ms,
        "sizeBytes": step.size,
        "key": step.key,
    }


def stats(found: Stats) -> Json:
    """Times are in milliseconds; null stands for what cannot be counted yet."""
    return {
        "builds": found.builds,
        "succeeded": found.succeeded,
        "failed": found.failed,
        "causes": dict(found.causes),
        "successRate": found.success_rate,
        "cacheHitRate": found.cache_hit_rate,
        "medianDurationMs": found.median_ms,
        "p90DurationMs": found.p90_ms,
        "lastDeployed": maybe_instant(found.last_deployed),
        "lastNumber": found.last_number,
    }


def difference(old: Build, new: Build, found: Difference) -> Json:
    """From one build of a template to another. The lists of paths are bounded; the totals count all."""
    packages, files = found.packages, found.files
    return {
        "from": _named(old),
        "to": _named(new),
        "size": {"from": old.size, "to": new.size},
        "packages": {
            "added": [asdict(package) for package in packages.added],
            "removed": [asdict(package) for package in packages.removed],
            "changed": [
                {"kind": p.kind, "name": p.name, "from": p.before, "to": p.after} for p in packages.changed
            ],
        },
        "files": {
            "added": list(files.added),
            "removed": list(files.removed),
            "changed": list(files.changed),
            "totalAdded": files.total_added,
            "totalRemoved": files.total_removed,
            "totalChanged": files.total_changed,
        },
        "settings": [_setting(change) for change in diff.settings(old.settings, new.settings)],
    }


def _named(build: Build) -> Json:
    return {"number": build.number, "buildID": build.build_id}


def _setting(change: SettingChange) -> Json:
    """Its field is called as in `settings`; a variable or a label by its own name behind that."""
    field, dot, name = change.field.partition(".")
    return {
        "field": f"{to_camel(field)}{dot}{name}",
        "from": _plain(change.before),
        "to": _plain(change.after),
    }


def _plain(value: object) -> object:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
