"""What tests through the official SDK share: its environment, and sandboxes that end with the test."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from e2b import AsyncSandbox, AsyncTemplate, Sandbox, Template

from tests.instance import Instance
from tests.outside import Outside, internet
from tests.sdk.building import Sdk
from tests.sdk.halves import asynchronous, synchronous


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


@pytest.fixture
async def asandbox() -> AsyncIterator[AsyncSandbox]:
    """A sandbox by the asynchronous half of the SDK."""
    made = await AsyncSandbox.create(timeout=120)
    yield made
    await made.kill()


@pytest.fixture(params=[synchronous, asynchronous], ids=["sync", "async"])
def half(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Sandbox, and AsyncSandbox in a dress that makes its calls block."""
    with request.param() as sandbox_class:
        yield sandbox_class


@pytest.fixture
def either(half: Any) -> Iterator[Any]:
    """A sandbox by one half of the SDK, then by the other."""
    made = half.create(timeout=120)
    yield made
    made.kill()


@pytest.fixture(params=[Template, AsyncTemplate], ids=["sync", "async"])
def sdk(request: pytest.FixtureRequest) -> Sdk:
    """The template half of either SDK."""
    return Sdk(request.param)


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    """A network namespace that plays the internet."""
    with internet(tmp_path_factory.mktemp("outside")) as made:
        yield made
