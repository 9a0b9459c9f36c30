"""A second team on a real berm, and what its limits look like through the SDK."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from e2b import AsyncSandbox, RateLimitException, Sandbox, SandboxNotFoundException, Secret

from tests.instance import Instance

pytestmark = [pytest.mark.sdk, pytest.mark.root]


@pytest.fixture
def team() -> str:
    return f"guests-{uuid4()}"


@pytest.fixture
def key(berm: Instance, team: str) -> Iterator[str]:
    """The first key of a team with room for one sandbox."""
    key = berm.berm("team", "create", team, "--sandboxes", "1").stdout.strip()
    yield key
    for found in Sandbox.list(api_key=key).next_items():
        Sandbox.kill(found.sandbox_id, api_key=key)


def test_a_team_has_as_many_sandboxes_as_its_limit(berm: Instance, team: str, key: str) -> None:
    first = Sandbox.create(api_key=key, timeout=60)
    with pytest.raises(RateLimitException, match=r"its limit is 1.*berm team limits"):
        Sandbox.create(api_key=key, timeout=60, retries=0)
    (listed,) = [
        found for found in json.loads(berm.berm("team", "list", "--json").stdout) if found["name"] == team
    ]
    assert (listed["running"], listed["inForce"]["maxSandboxes"]) == (1, 1)
    assert first.kill()
    Sandbox.create(api_key=key, timeout=60)
    assert "sandboxes 2," in berm.berm("team", "limits", team, "--sandboxes", "2").stdout
    Sandbox.create(api_key=key, timeout=60)


def test_the_limit_is_exact_however_many_ask_at_once(berm: Instance, team: str, key: str) -> None:
    berm.berm("team", "limits", team, "--sandboxes", "3")

    def create(_number: int) -> bool:
        try:
            Sandbox.create(api_key=key, timeout=60, retries=0)
        except RateLimitException:
            return False
        return True

    with ThreadPoolExecutor(10) as pool:
        assert sum(pool.map(create, range(10))) == 3


async def test_a_rate_is_waited_for_by_the_sdk_itself(berm: Instance, team: str, key: str) -> None:
    berm.berm("team", "limits", team, "--rate", "1", "--sandboxes", "default")
    made = [await AsyncSandbox.create(api_key=key, timeout=60) for _ in range(3)]
    assert len({sandbox.sandbox_id for sandbox in made}) == 3
    starts = sorted([(await sandbox.get_info()).started_at for sandbox in made])
    assert (starts[-1] - starts[0]).total_seconds() >= 1


def test_a_team_cannot_reach_what_another_has(key: str) -> None:
    sandbox = Sandbox.create(timeout=60)
    name = f"name-{uuid4()}"
    Secret.create(name, "value")
    try:
        with pytest.raises(SandboxNotFoundException):
            Sandbox.connect(sandbox.sandbox_id, api_key=key)
        assert not Sandbox.kill(sandbox.sandbox_id, api_key=key)
        assert sandbox.sandbox_id not in [s.sandbox_id for s in Sandbox.list(api_key=key).next_items()]
        assert not Secret.exists(name, api_key=key)
        assert sandbox.is_running()
    finally:
        sandbox.kill()
        Secret.destroy(name)
