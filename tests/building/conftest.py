"""What tests of real builds share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.building.folder import Folder
from tests.instance import Instance

pytestmark = pytest.mark.root


@pytest.fixture
def folder(berm: Instance, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Folder]:
    """A folder whose template is named for the test, and deleted after it."""
    name = request.node.name.partition("[")[0].replace("_", "-")[:60]
    made = Folder(berm, tmp_path / "template", name)
    yield made
    berm.berm("template", "delete", made.name, check=False)
