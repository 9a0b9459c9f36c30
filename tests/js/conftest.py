import os
from pathlib import Path

import pytest

from tests.instance import Instance
from tests.js.node import NODE, Node, install


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of the lock file, installed once for all tests."""
    directory = tmp_path_factory.mktemp("js")
    install(directory)
    return directory


@pytest.fixture
def node(berm: Instance, packages: Path, tmp_path: Path) -> Node:
    """What `eval "$(berm env)"` does to a program, with a home directory of its own."""
    ours = {name: value for name, value in berm.env.items() if name.startswith("E2B_")}
    path = f"{NODE.parent}:{os.environ['PATH']}"
    return Node(packages, {**ours, "HOME": str(tmp_path), "PATH": path, "NO_COLOR": "1"})
