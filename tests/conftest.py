"""What tests of several packages share: settings, and a control plane that serves real HTTP."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from berm.config import Config, load
from tests.fakes import FakeNode
from tests.serving import Served

Serve = Callable[[FakeNode], Served]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load({"BERM_HOME": str(tmp_path), "BERM_MAX_SANDBOXES": "10"})


@pytest.fixture
def serve(config: Config) -> Iterator[Serve]:
    """Start a control plane over a node; it is stopped after the test."""
    started: list[Served] = []

    def start(node: FakeNode) -> Served:
        started.append(Served(config, node))
        return started[-1]

    yield start
    for served in started:
        served.close()


@pytest.fixture
def served(serve: Serve) -> Served:
    return serve(FakeNode())
