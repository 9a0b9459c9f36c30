import time
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from berm.store import activity as store
from berm.store import sandboxes
from berm.store.activity import STEP
from tests.api.checks import check_error
from tests.serving import Served
from tests.store.samples import sandbox


def recorded(served: Served) -> int:
    """The moment of a step in which two sandboxes were started."""
    at = int(time.time()) // STEP * STEP - 5 * STEP
    for _ in range(2):
        made = sandbox(served.team_id, datetime.fromtimestamp(at + 1, UTC), minutes=60)
        served.call(served.control.database.run(sandboxes.add, made))
    served.call(served.control.database.run(store.record, at))
    return at


def test_what_went_on_in_a_team(served: Served) -> None:
    at = recorded(served)
    found = served.client.get(f"/teams/{served.team_id}/metrics?start={at - 10 * STEP}").json()
    assert isinstance(found, list), found
    moments = [metric["timestampUnix"] for metric in found]
    assert moments == sorted(moments)
    assert {later - earlier for earlier, later in pairwise(moments)} == {STEP}
    now = next(metric for metric in found if metric["timestampUnix"] == at)
    assert now["concurrentSandboxes"] == 2
    assert now["sandboxStartRate"] == pytest.approx(2 / STEP)
    assert now["timestamp"].endswith("Z")
    assert found[0]["concurrentSandboxes"] == 0


def test_a_long_range_comes_in_wide_steps(served: Served) -> None:
    for query in ("", "?start=0", "?start=0&end=9999999999"):
        found = served.client.get(f"/teams/{served.team_id}/metrics{query}").json()
        assert 700 < len(found) <= 721
        assert found[-1]["timestampUnix"] <= time.time()


@pytest.mark.parametrize(("metric", "value"), [("concurrent_sandboxes", 2), ("sandbox_start_rate", 2 / STEP)])
def test_the_most_that_went_on(served: Served, metric: str, value: float) -> None:
    path = f"/teams/{served.team_id}/metrics/max?metric={metric}"
    nothing = served.client.get(path).json()
    assert nothing["value"] == 0
    at = recorded(served)
    found = served.client.get(path).json()
    assert found["value"] == pytest.approx(value)
    assert found["timestampUnix"] == at
    assert served.client.get(f"{path}&end={at - 1}").json()["value"] == 0


def test_another_team_is_nobodys_business(served: Served) -> None:
    with served.connect(served.other_team_key()) as other:
        for path in ("metrics", "metrics/max?metric=concurrent_sandboxes"):
            check_error(other.get(f"/teams/{served.team_id}/{path}"), 403, "not the team")
            check_error(other.get(f"/teams/unknown/{path}"), 403, "not the team")


@pytest.mark.parametrize("query", ["metric=other", "", "metric=concurrent_sandboxes&start=2&end=1"])
def test_no_maximum(served: Served, query: str) -> None:
    assert served.client.get(f"/teams/{served.team_id}/metrics/max?{query}").status_code == 400


@pytest.mark.parametrize("path", ["metrics?", "metrics/max?metric=concurrent_sandboxes&"])
def test_what_is_to_come_has_no_values(served: Served, path: str) -> None:
    response = served.client.get(f"/teams/{served.team_id}/{path}start=99999999999")
    assert response.status_code == 200


@pytest.mark.parametrize("query", ["start=x", "start=-1", "end=1.5", "start=2&end=1"])
def test_no_range(served: Served, query: str) -> None:
    assert served.client.get(f"/teams/{served.team_id}/metrics?{query}").status_code == 400
