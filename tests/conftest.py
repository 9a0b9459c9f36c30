"""What tests of several packages share: settings, a control plane that serves real HTTP, and a whole berm."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from berm.config import Config, load
from tests.databases import database, postgresql, url  # noqa: F401 - fixtures
from tests.fakes import FakeNode
from tests.instance import NUMBER, Instance, running
from tests.serving import Served

Serve = Callable[[FakeNode], Served]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return _config(tmp_path)


def _config(home: Path) -> Config:
    return load({"BERM_HOME": str(home), "BERM_MAX_SANDBOXES": "10"})


@pytest.fixture
def serve(config: Config) -> Iterator[Serve]:
    """Start a control plane over a node; it is stopped after the test."""
    with ExitStack() as stack:

        def start(node: FakeNode) -> Served:
            served = Served(config, node)
            stack.callback(served.close)
            return served

        yield start


@pytest.fixture
def served(serve: Serve) -> Served:
    return serve(FakeNode())


@pytest.fixture(scope="session")
def berm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """One berm for all tests that need a real one, with the base template made for real."""
    # A state directory that is kept between runs spares a developer the bootstrap of the base template.
    kept = os.environ.get("BERM_TEST_HOME")
    home = Path(kept) / str(NUMBER) if kept else tmp_path_factory.mktemp("berm")
    with running(home, NUMBER) as instance:
        yield instance


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One for all tests of a module that leave nothing behind."""
    served = Served(_config(tmp_path_factory.mktemp("untouched")), FakeNode())
    yield served
    served.close()
