"""Two clients do something to one sandbox at the same moment: what is left is one of the legal states."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from e2b import Sandbox, SandboxException, SandboxNotFoundException, TimeoutException

from tests.instance import Instance

pytestmark = [pytest.mark.sdk, pytest.mark.root]

ROUNDS = 8

ACTIONS: dict[str, Callable[[Sandbox], Any]] = {
    "kill": lambda sandbox: sandbox.kill(),
    "connect": lambda sandbox: Sandbox.connect(sandbox.sandbox_id, timeout=200),
    "extend": lambda sandbox: sandbox.set_timeout(300),
    "expire": lambda sandbox: sandbox.set_timeout(0),
    "write": lambda sandbox: sandbox.files.write_files(
        [{"path": f"many/{n}", "data": b"x" * 10000} for n in range(50)]
    ),
    "command": lambda sandbox: sandbox.commands.run("for n in $(seq 100); do echo $n; done"),
    "list": lambda sandbox: Sandbox.list().next_items(),
}
"""What a client may do. One that ends a sandbox is in ENDS as well."""

ENDS = {"kill", "expire"}

PAIRS = (
    ("kill", "kill"),
    ("connect", "kill"),
    ("extend", "kill"),
    ("write", "kill"),
    ("command", "kill"),
    ("list", "kill"),
    ("expire", "kill"),
    ("extend", "extend"),
    ("connect", "extend"),
    ("connect", "connect"),
    ("extend", "expire"),
    ("connect", "expire"),
    ("write", "expire"),
    ("command", "extend"),
)
"""Done at the same moment, by different clients."""

REFUSALS = (SandboxException, TimeoutException)
"""What a client may be told, which each has a place in E2B's own hierarchy."""


def together(sandbox: Sandbox, pair: tuple[str, str]) -> list[Any]:
    """The result of each action, or the error that it met."""
    start = threading.Barrier(2)

    def act(name: str) -> Any:
        start.wait()
        try:
            return ACTIONS[name](sandbox)
        except REFUSALS as refusal:
            return refusal

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(act, pair))


def alive(sandbox: Sandbox) -> bool:
    """Whether a sandbox runs. Raises AssertionError if it half does."""
    listed = any(i.sandbox_id == sandbox.sandbox_id for i in Sandbox.list(limit=100).next_items())
    try:
        sandbox.get_info()
    except SandboxNotFoundException:
        assert not listed
        assert not sandbox.is_running()
        return False
    assert listed
    assert sandbox.is_running()
    assert sandbox.commands.run("echo lives").stdout == "lives\n"
    return True


@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
def test_what_is_left_is_legal(berm: Instance, create: Callable[..., Sandbox], pair: tuple[str, str]) -> None:
    for _ in range(ROUNDS):
        sandbox = create(timeout=120)
        results = together(sandbox, pair)
        if not ENDS.intersection(pair):
            assert alive(sandbox)
            assert not [result for result in results if isinstance(result, Exception)]
        elif "kill" not in pair:
            # Whichever came last has won.
            sandbox.kill()
        if ENDS.intersection(pair):
            assert not alive(sandbox)
            wait_until_gone(berm, sandbox)
        if pair == ("kill", "kill"):
            assert sorted(results) == [False, True]


def wait_until_gone(berm: Instance, sandbox: Sandbox) -> None:
    """Until its directory is removed, which the one that lost a race does not wait for."""
    while (berm.pool / "sandboxes" / sandbox.sandbox_id).exists():
        Sandbox.list(limit=1).next_items()
