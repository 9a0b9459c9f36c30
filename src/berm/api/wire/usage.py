"""The E2B answers about what sandboxes use, named after their schemas in the OpenAPI file."""

from datetime import UTC, datetime

from berm.api.wire.common import Json, instant
from berm.control.usage import Measurement


def moment(seconds: float) -> Json:
    """The two fields that say when, of every schema of a metric.

    Whole seconds: ranges are given in them, so that one which begins with a metric's timestamp has it.
    """
    return {"timestamp": instant(datetime.fromtimestamp(int(seconds), UTC)), "timestampUnix": int(seconds)}


def sandbox_metric(measured: Measurement) -> Json:
    """`SandboxMetric`."""
    return {
        **moment(measured.at),
        "cpuCount": measured.cpu_count,
        "cpuUsedPct": measured.cpu_percent,
        "memUsed": measured.memory,
        "memTotal": measured.memory_total,
        "memCache": measured.cache,
        "diskUsed": measured.disk,
        "diskTotal": measured.disk_total,
    }
