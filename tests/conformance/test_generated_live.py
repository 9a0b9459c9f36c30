"""Fewer generated requests, to a real berm: the host holds no more afterwards."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conformance.generate import EXAMPLES, NEGATIVE, OPERATIONS, POSITIVE, Hammer
from tests.conformance.things import Things
from tests.instance import Instance
from tests.sdk.test_leaks import holdings

pytestmark = [pytest.mark.sdk, pytest.mark.root]

FEW = max(4, EXAMPLES // 6)
SPARE = {"server descriptors": 30, "launcher descriptors": 3}
"""Connections that are kept alive come and go; all else is exact."""


@pytest.fixture(scope="module")
def http(berm: Instance) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=berm.url, headers={"X-API-Key": berm.key}, timeout=110) as client:
        yield client


@pytest.fixture(scope="module")
def hammer(berm: Instance, http: httpx.Client) -> Iterator[Hammer]:
    """What it has made is ended with the module, and nothing may be left of it."""
    before = {sandbox["sandboxID"] for sandbox in http.get("/v2/sandboxes").json()}
    held = holdings(berm)
    made = Hammer(berm.url, berm.key, Things(http))
    yield made
    made.close()
    for sandbox in http.get("/v2/sandboxes").json():
        if sandbox["sandboxID"] not in before:
            http.delete(f"/sandboxes/{sandbox['sandboxID']}")
    while more(holdings(berm), held):
        http.get("/health")


def more(after: Counter[str], before: Counter[str]) -> dict[str, int]:
    """What there is too much of, and how much."""
    spent = {kind: after[kind] - before[kind] - SPARE.get(kind, 0) for kind in after}
    return {kind: number for kind, number in spent.items() if number > 0}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_a_real_berm(hammer: Hammer, operation: Any) -> None:
    hammer.strike(operation, POSITIVE, FEW)
    if operation.query or operation.body:
        hammer.strike(operation, NEGATIVE, FEW)
