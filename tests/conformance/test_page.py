"""The conformance page says what the official clients of three releases each really meet."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.conformance.clients import Client, Results, clients
from tests.conformance.direct import Direct
from tests.conformance.interface import Operation
from tests.conformance.page import HAND, Seen, page
from tests.conformance.recorder import Call, operation, recording
from tests.conformance.things import Things
from tests.instance import Instance

PAGE = Path(__file__).parents[2] / "docs/conformance.md"
REWRITE = "BERM_TEST_REWRITE" in os.environ
"""Set by `make conformance`: the page is written instead of compared."""

pytestmark = [pytest.mark.sdk, pytest.mark.root, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> list[Client]:
    return list(clients(tmp_path_factory.mktemp("clients")))


def column(client: Client) -> str:
    return f"{client.kind.partition(',')[0]} {client.version}"


def met(berm: Instance, client: Client) -> tuple[list[Call], Results]:
    """What a client did, by the wire and by its own word."""
    with recording(int(berm.env["BERM_PORT"])) as recorder:
        url = f"http://127.0.0.1:{recorder.port}"
        urls = dict.fromkeys(("E2B_API_URL", "E2B_SANDBOX_URL", "E2B_VOLUME_API_URL"), url)
        results = client.run({**berm.env, **urls})
    return recorder.calls, results


def by_hand(berm: Instance, http: httpx.Client) -> Iterator[tuple[Operation, int]]:
    token = berm.home / "admin-token"
    direct = Direct(http, Things(http, token.read_text().strip() if token.exists() else ""))
    yield from direct.calls()
    yield from direct.agent_calls()


@pytest.fixture(scope="module")
def seen(berm: Instance, releases: list[Client]) -> Seen:
    """Everything that was met: by each client, two at a time, and by hand."""
    seen = Seen()
    with ThreadPoolExecutor(2) as pool:
        for client, (calls, results) in zip(releases, pool.map(partial(met, berm), releases), strict=True):
            for call in calls:
                if found := operation(call):
                    seen.call(column(client), found, call.status)
            for name, result in results.items():
                seen.step(client.kind, client.version, name, result)
    with httpx.Client(base_url=berm.url, headers={"X-API-Key": berm.key}, timeout=60) as http:
        for found, status in by_hand(berm, http):
            seen.call(HAND, found, status)
    return seen


@pytest.fixture(scope="module")
def generated(seen: Seen, releases: list[Client]) -> str:
    text = page(seen, list(dict.fromkeys(column(client) for client in releases)))
    if REWRITE:
        PAGE.write_text(text)
    return text


def test_nothing_is_unexplained(generated: str) -> None:
    assert not [line for line in generated.splitlines() if "FAILS" in line]


def test_every_call_was_made(generated: str) -> None:
    rows = [line for line in generated.splitlines() if line.startswith("| `") and "/" in line]
    assert not [row for row in rows if set(row.split(" | ")[1:-1]) <= {"-"}]


def test_the_page_is_as_generated(generated: str) -> None:
    assert PAGE.read_text() == generated, "run `make conformance` and look at what has changed"
