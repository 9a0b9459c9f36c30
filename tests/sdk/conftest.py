"""One berm for all tests that drive it through the official SDK, with the base template made for real."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from e2b import Sandbox

from tests.instance import Instance, running


@pytest.fixture(scope="session")
def berm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    # A state directory that is kept between runs spares a developer the bootstrap of the base template.
    kept = os.environ.get("BERM_TEST_HOME")
    home = Path(kept) if kept else tmp_path_factory.mktemp("berm")
    with running(home, 0) as instance:
        yield instance


@pytest.fixture(autouse=True)
def environment(berm: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `eval "$(berm env)"` does to a program."""
    for name, value in berm.env.items():
        if name.startswith("E2B_"):
            monkeypatch.setenv(name, value)


@pytest.fixture
def create() -> Iterator[Callable[..., Sandbox]]:
    """Sandbox.create, with what it made killed after the test."""
    made: list[Sandbox] = []

    def make(**options: object) -> Sandbox:
        made.append(Sandbox.create(**options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for sandbox in made:
        sandbox.kill()


@pytest.fixture
def sandbox(create: Callable[..., Sandbox]) -> Sandbox:
    return create(timeout=120)
