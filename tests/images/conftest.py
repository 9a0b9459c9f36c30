"""A registry for the tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.images.oci import Registry, running_registry


@pytest.fixture(scope="package")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running
