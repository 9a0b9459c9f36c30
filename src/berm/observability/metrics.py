"""Every metric, its labels enumerated: a label has a bounded number of values, whatever callers do.

Counts of builds and steps come from the database, so they survive a restart; what is measured in this
process begins anew with it, as Prometheus expects of a counter.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from berm.errors import Code

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

MOST_TEMPLATES: Final = 100
"""Templates with series of their own; what is counted of others goes to OTHERS together."""

OTHERS: Final = "(other)"
"""Cannot be the name of a template."""

_BUILD_SECONDS: Final = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_CREATION_SECONDS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_OK: Final = "ok"
_FAULTS: Final = (Code.INTERNAL, Code.NO_SPACE, Code.TIMED_OUT, Code.UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class BuildCount:
    """How many builds of a template ended like this, ever, and what became of their steps."""

    template: str
    status: str
    cause: str
    """Empty for those that succeeded."""
    builds: int
    cached_steps: int
    run_steps: int


@dataclass(frozen=True, slots=True)
class Deployment:
    """The last build of a template that succeeded."""

    template: str
    number: int
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known at the time of a scrape; templates beyond MOST_TEMPLATES are OTHERS already."""

    sandboxes: int
    builds: Sequence[BuildCount]
    unfinished: Sequence[tuple[str, int]]
    """How many builds have each of the states before the end."""
    deployments: Sequence[Deployment]
    paused: int = 0


class Metrics:
    """What is measured in this process, and the text that Prometheus reads."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.created = 0
        """Sandboxes that were started since this process was."""
        self.failed = 0
        """Those that could not be, for a fault of this machine."""
        self._creations = Counter(
            "berm_sandbox_creations",
            "Sandboxes asked for, by result: ok or the code of the error.",
            ["result"],
            registry=self._registry,
        )
        self._creation_seconds = Histogram(
            "berm_sandbox_creation_seconds",
            "Time from the request to a sandbox that is ready, of those that succeeded.",
            buckets=_CREATION_SECONDS,
            registry=self._registry,
        )
        self._build_seconds = Histogram(
            "berm_build_seconds",
            "Time from the start of a template build to its end, by status.",
            ["status"],
            buckets=_BUILD_SECONDS,
            registry=self._registry,
        )

    def sandbox_created(self, seconds: float) -> None:
        self.created += 1
        self._creations.labels(_OK).inc()
        self._creation_seconds.observe(seconds)

    def sandbox_refused(self, code: Code) -> None:
        self.failed += code in _FAULTS
        self._creations.labels(code.value).inc()

    def build_ended(self, status: str, seconds: float) -> None:
        """`status` is one of the states that a build ends in."""
        self._build_seconds.labels(status).observe(seconds)

    def render(self, snapshot: Snapshot) -> bytes:
        """In Prometheus' text format, CONTENT_TYPE."""
        now = CollectorRegistry()
        now.register(_Scrape(snapshot))
        return generate_latest(self._registry) + generate_latest(now)


class _Scrape(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        snapshot = self._snapshot
        yield GaugeMetricFamily("berm_sandboxes_running", "Sandboxes that run now.", snapshot.sandboxes)
        yield GaugeMetricFamily("berm_sandboxes_paused", "Sandboxes that are paused now.", snapshot.paused)
        yield _unfinished(snapshot.unfinished)
        yield _builds(snapshot.builds)
        yield _steps(snapshot.builds)
        yield from _deployments(snapshot.deployments)


def _unfinished(counts: Iterable[tuple[str, int]]) -> Metric:
    family = GaugeMetricFamily(
        "berm_builds_unfinished", "Template builds that wait or go on.", labels=["status"]
    )
    for status, count in counts:
        family.add_metric([status], count)
    return family


def _builds(counts: Iterable[BuildCount]) -> Metric:
    family = CounterMetricFamily(
        "berm_builds", "Template builds that have ended.", labels=["template", "status", "cause"]
    )
    for count in counts:
        family.add_metric([count.template, count.status, count.cause], count.builds)
    return family


def _steps(counts: Sequence[BuildCount]) -> Metric:
    family = CounterMetricFamily(
        "berm_build_steps", "Steps of template builds that make layers.", labels=["template", "cached"]
    )
    for template in dict.fromkeys(count.template for count in counts):
        own = [count for count in counts if count.template == template]
        family.add_metric([template, "true"], sum(count.cached_steps for count in own))
        family.add_metric([template, "false"], sum(count.run_steps for count in own))
    return family


def _deployments(deployments: Sequence[Deployment]) -> Iterator[Metric]:
    at = GaugeMetricFamily(
        "berm_template_deployed_timestamp_seconds",
        "When the last build of a template succeeded.",
        labels=["template"],
    )
    number = GaugeMetricFamily(
        "berm_template_build_number", "The last build of a template that succeeded.", labels=["template"]
    )
    for deployment in deployments:
        at.add_metric([deployment.template], deployment.finished_at.timestamp())
        number.add_metric([deployment.template], deployment.number)
    yield from (at, number)
