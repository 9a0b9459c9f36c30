"""What tests of the command line against the real server share."""

from collections.abc import Iterator

import pytest

from tests.instance import Instance


@pytest.fixture
def sandbox(berm: Instance) -> Iterator[str]:
    """The id of a sandbox that the command line made."""
    sandbox_id = berm.berm("sandbox", "create", "--timeout", "300").stdout.strip()
    yield sandbox_id
    berm.berm("sandbox", "kill", sandbox_id, check=False)
