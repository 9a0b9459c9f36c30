from datetime import UTC, datetime

from prometheus_client.parser import text_string_to_metric_families

from berm.errors import Code
from berm.observability.metrics import OTHERS, BuildCount, Deployment, Metrics, Snapshot
from berm.templates.versions import is_name

EMPTY = Snapshot(0, [], [], [])


def samples(text: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """What Prometheus makes of it."""
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def value(text: bytes, name: str, **labels: str) -> float | None:
    return samples(text).get((name, frozenset(labels.items())))


def test_what_this_process_measures_adds_up() -> None:
    metrics = Metrics()
    metrics.sandbox_created(0.03)
    metrics.sandbox_created(0.3)
    metrics.sandbox_refused(Code.RATE_LIMITED)
    metrics.build_ended("ready", 3.5)
    text = metrics.render(EMPTY)
    assert value(text, "berm_sandbox_creations_total", result="ok") == 2
    assert value(text, "berm_sandbox_creations_total", result="rate_limited") == 1
    assert value(text, "berm_sandbox_creation_seconds_bucket", le="0.05") == 1
    assert value(text, "berm_sandbox_creation_seconds_count") == 2
    assert value(text, "berm_build_seconds_sum", status="ready") == 3.5


def test_what_the_database_knows_is_told_as_it_is_now() -> None:
    at = datetime(2030, 1, 1, tzinfo=UTC)
    counts = [
        BuildCount("app", "ready", "", 2, 7, 3),
        BuildCount("app", "error", "timeout", 1, 1, 0),
        BuildCount(OTHERS, "ready", "", 5, 0, 0),
    ]
    metrics = Metrics()
    for _ in range(2):
        text = metrics.render(
            Snapshot(3, counts, [("waiting", 0), ("building", 4)], [Deployment("app", 9, at)])
        )
    assert value(text, "berm_sandboxes_running") == 3
    assert value(text, "berm_builds_total", template="app", status="ready", cause="") == 2
    assert value(text, "berm_builds_total", template="app", status="error", cause="timeout") == 1
    assert value(text, "berm_builds_total", template=OTHERS, status="ready", cause="") == 5
    assert value(text, "berm_build_steps_total", template="app", cached="true") == 8
    assert value(text, "berm_build_steps_total", template="app", cached="false") == 3
    assert value(text, "berm_builds_unfinished", status="building") == 4
    assert value(text, "berm_template_build_number", template="app") == 9
    assert value(text, "berm_template_deployed_timestamp_seconds", template="app") == at.timestamp()


def test_two_of_them_share_nothing() -> None:
    first, second = Metrics(), Metrics()
    first.sandbox_created(1)
    assert value(second.render(EMPTY), "berm_sandbox_creations_total", result="ok") is None


def test_nothing_about_this_program_itself_is_told() -> None:
    assert not any(name.startswith(("python_", "process_")) for name, _ in samples(Metrics().render(EMPTY)))


def test_no_template_can_be_called_like_the_rest() -> None:
    assert not is_name(OTHERS)
