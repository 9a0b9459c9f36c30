"""Thousands of requests made from the published interface: no failure of ours, no answer unknown to it."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from berm.api.later import CALLS
from berm.config import load
from tests.conformance.generate import NEGATIVE, OPERATIONS, POSITIVE, Hammer
from tests.conformance.things import Things
from tests.fakes import FakeNode
from tests.serving import Served

CAN_BE_WRONG = [operation for operation in OPERATIONS if operation.query or operation.body]
"""Calls with something in a query or body that can be other than it should."""


def _bare(name: str) -> str:
    """A call without the names of its parameters."""
    return re.sub(r"{\w+}", "{}", name)


REFUSED = {_bare(f"{method} {path}") for method, path, _ in CALLS}


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One whose node has a directory to keep things in."""
    home = tmp_path_factory.mktemp("generated")
    config = load({"BERM_HOME": str(home), "BERM_MAX_SANDBOXES": "10"})
    (home / "pool").mkdir()
    served = Served(config, FakeNode(home / "pool"))
    yield served
    served.close()


@pytest.fixture(scope="module")
def hammer(untouched: Served) -> Iterator[Hammer]:
    """Over one server for all; when it is put away, the server holds no more than before."""
    untouched.client.get("/health")  # its connection stays
    before = holdings(untouched)
    made = Hammer(untouched.url, untouched.key, Things(untouched.client))
    yield made
    made.close()
    for sandbox in untouched.client.get("/v2/sandboxes").json():
        untouched.client.delete(f"/sandboxes/{sandbox['sandboxID']}")
    while holdings(untouched) != before:
        untouched.client.get("/health")
    assert not untouched.node.running()


def holdings(served: Served) -> tuple[int, int]:
    """Tasks of the server and descriptors of this process."""

    async def tasks() -> int:
        return len(asyncio.all_tasks())

    return served.call(tasks()), len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_what_the_interface_allows(hammer: Hammer, operation: Any) -> None:
    hammer.strike(operation, POSITIVE)


@pytest.mark.parametrize("operation", CAN_BE_WRONG, ids=lambda operation: operation.label)
def test_what_the_interface_does_not_allow(hammer: Hammer, operation: Any) -> None:
    hammer.strike(operation, NEGATIVE)


def test_the_requests_reach_what_they_are_about(hammer: Hammer) -> None:
    """That a call was never more than refused for its form would say little."""
    refused = {name for name, _ in hammer.seen} - hammer.reached()
    assert not {name for name in refused if _bare(name) not in REFUSED}
