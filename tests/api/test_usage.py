from dataclasses import replace

import pytest

from berm.models import Usage
from tests.api.checks import check_error
from tests.api.test_sandboxes import create
from tests.serving import Served

MIB = 1 << 20
FIRST = Usage(at=1000.25, cpu_seconds=1.0, memory=100 * MIB, cache=10 * MIB, disk=5 * MIB)
METRIC = {
    "timestamp": "1970-01-01T00:16:45Z",
    "timestampUnix": 1005,
    "cpuCount": 2,
    "cpuUsedPct": 25.0,
    "memUsed": 100 * MIB,
    "memTotal": 1024 * MIB,
    "memCache": 10 * MIB,
    "diskUsed": 5 * MIB,
    "diskTotal": 10240 * MIB,
}


def used(served: Served, count: int) -> str:
    """The id of a sandbox that was sampled so many times."""
    sandbox_id = str(create(served)["sandboxID"])
    for number in range(count):
        at, cpu_seconds = FIRST.at + 5 * number, FIRST.cpu_seconds + 2.5 * number
        served.node.usages[sandbox_id] = replace(FIRST, at=at, cpu_seconds=cpu_seconds)
        served.call(served.control.usage.sample([sandbox_id]))
    return sandbox_id


def test_of_one_sandbox(served: Served) -> None:
    sandbox_id = used(served, 3)
    found = served.client.get(f"/sandboxes/{sandbox_id}/metrics").json()
    assert found[0] == METRIC
    assert [metric["timestampUnix"] for metric in found] == [1005, 1010]
    assert served.client.get(f"/sandboxes/{used(served, 0)}/metrics").json() == []
    assert served.client.get(f"/sandboxes/{used(served, 1)}/metrics").json() == []


@pytest.mark.parametrize(
    ("query", "moments"),
    [
        ("start=1005", [1005, 1010, 1015]),
        ("start=1006", [1010, 1015]),
        ("end=1010", [1005, 1010]),
        ("start=1010&end=1010", [1010]),
        ("start=1016", []),
        ("end=0", []),
        (f"end={(1 << 63) - 1}", [1005, 1010, 1015]),
    ],
)
def test_a_range_has_both_its_ends(served: Served, query: str, moments: list[int]) -> None:
    found = served.client.get(f"/sandboxes/{used(served, 4)}/metrics?{query}").json()
    assert [metric["timestampUnix"] for metric in found] == moments


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("start=2&end=1", "start is 2, which is after end, 1"),
        ("start=-1", "start is '-1'"),
        ("end=soon", "end is 'soon'"),
        (f"start={1 << 63}", "start is"),
    ],
)
def test_no_range(served: Served, query: str, message: str) -> None:
    check_error(served.client.get(f"/sandboxes/{used(served, 0)}/metrics?{query}"), 400, message)


def test_of_several_there_is_the_last(served: Served) -> None:
    one, two, new = used(served, 2), used(served, 2), used(served, 0)
    found = served.client.get(f"/sandboxes/metrics?sandbox_ids={one},{two},{new},unknown").json()
    assert found == {"sandboxes": {one: METRIC, two: METRIC}}
    assert served.client.get(f"/sandboxes/metrics?sandbox_ids={new}").json() == {"sandboxes": {}}


def test_another_team_sees_nothing(served: Served) -> None:
    sandbox_id = used(served, 2)
    with served.connect(served.other_team_key()) as other:
        check_error(other.get(f"/sandboxes/{sandbox_id}/metrics"), 404, "not found")
        found = other.get(f"/sandboxes/metrics?sandbox_ids={sandbox_id}").json()
    assert found == {"sandboxes": {}}


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ("", "sandbox_ids is missing"),
        ("?sandbox_ids=a,a", "an id is in it twice"),
        ("?sandbox_ids=" + ",".join(map(str, range(101))), "sandbox_ids is"),
        ("?sandbox_ids=a%00", "sandbox_ids.0 is"),
    ],
)
def test_no_list_of_sandboxes(served: Served, ids: str, message: str) -> None:
    check_error(served.client.get(f"/sandboxes/metrics{ids}"), 400, message)


def test_only_with_a_key(served: Served) -> None:
    with served.connect("e2b_0") as stranger:
        check_error(stranger.get("/sandboxes/i/metrics"), 401, "")
        check_error(stranger.get("/sandboxes/metrics?sandbox_ids=i"), 401, "")
