"""Builds that are broken off: nothing is half made, and the next goes on from what was finished."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.building.folder import BASE, Folder
from tests.instance import BERM, Instance

LONG = "sleep 600"
"""A step that would take longer than any test."""


def two_steps(folder: Folder, second: str) -> str:
    """The first is another in each test, so that none finds it in the cache."""
    return f"FROM {BASE}\nRUN echo one > /one # {folder.mark}\nRUN {second}\n"


@pytest.fixture(autouse=True)
def up_again(berm: Instance) -> Iterator[None]:
    """Whatever a test leaves down is up for the next."""
    yield
    berm.berm("up")


@contextmanager
def held(folder: Folder) -> Iterator["subprocess.Popen[str]"]:
    """A client whose build is in its second step."""
    folder.write(two_steps(folder, LONG))
    command = [BERM, "template", "build", str(folder.path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=folder.berm.env, stdout=pipe, stderr=pipe, text=True) as client:
        assert client.stderr
        for line in client.stderr:
            if line.startswith("[2]"):
                break
        yield client
        client.kill()


def sandboxes(berm: Instance) -> set[str]:
    """What runs, and what is left on the disk of what ran."""
    return {path.name for path in (berm.pool / "sandboxes").iterdir() if not path.name.startswith(".")}


def goes_on(folder: Folder, before: set[str]) -> None:
    """Nothing of the broken build is left, and the next takes its first step from the cache."""
    assert sandboxes(folder.berm) == before
    unfinished = [path.name for path in (folder.berm.pool / "layers").iterdir() if path.name.startswith(".")]
    assert not unfinished
    folder.write(two_steps(folder, "echo two > /two"))
    folder.build()
    assert folder.cached() == [True, False, False]
    assert folder.run("cat /one /two") == "one\ntwo\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_client_that_is_told_to_end_cancels_the_build(folder: Folder, number: signal.Signals) -> None:
    before = sandboxes(folder.berm)
    with held(folder) as client:
        client.send_signal(number)
        assert client.wait() == 128 + number

    assert _newest(folder)["cause"] == "cancelled"
    goes_on(folder, before)


def test_a_killed_client_leaves_a_build_that_can_be_cancelled(folder: Folder) -> None:
    before = sandboxes(folder.berm)
    with held(folder) as client:
        client.kill()
        client.wait()

    assert _newest(folder)["status"] == "building"
    folder.berm.berm("template", "delete", folder.name)
    goes_on(folder, before)


@pytest.mark.parametrize(
    "stop", [Instance.kill_server, lambda berm: berm.berm("down")], ids=["killed", "down"]
)
def test_a_server_that_ends_leaves_no_half_made_build(
    folder: Folder, stop: Callable[[Instance], object]
) -> None:
    before = sandboxes(folder.berm)
    with held(folder):
        stop(folder.berm)
    folder.berm.berm("up")

    newest = _newest(folder)
    assert (newest["status"], newest["cause"]) == ("error", "interrupted")
    goes_on(folder, before)


def test_a_launcher_that_ends_fails_the_step_at_most(folder: Folder) -> None:
    before = sandboxes(folder.berm)
    with held(folder):
        folder.berm.kill_launcher()
        folder.berm.berm("template", "delete", folder.name)

    goes_on(folder, before)


def _newest(folder: Folder) -> dict[str, str]:
    found: dict[str, str] = json.loads(folder.berm.berm("template", "builds", folder.name, "--json").stdout)[
        0
    ]
    return found
