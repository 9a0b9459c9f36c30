"""Whatever bytes reach the agent, it answers in its protocol or closes the connection, and lives on."""

import json
import os
from collections.abc import Callable, Iterator

import pytest
from e2b import Sandbox
from hypothesis import HealthCheck, given, settings

from tests.instance import Instance
from tests.sdk.malformed import Request, Wire, file_requests, requests

pytestmark = [pytest.mark.sdk, pytest.mark.root]

_ASKED = os.environ.get("BERM_TEST_EXAMPLES")
EXAMPLES = int(_ASKED or "600")

HELD = "ls /proc/1/fd | wc -l; ls -d /proc/[0-9]* | wc -l"
"""Descriptors of the agent, and processes, of which this command has some itself."""


@pytest.fixture
def wire(berm: Instance, create: Callable[..., Sandbox]) -> Iterator[Wire]:
    """To a sandbox that holds no more at the end than at the beginning, and is the same."""
    sandbox = create(timeout=600)
    agent = held(sandbox)
    before = held(sandbox)
    yield Wire(berm.url, sandbox)
    while held(sandbox) > max(agent, before):
        assert sandbox.is_running()
    assert sandbox.files.read("/proc/1/comm")


def held(sandbox: Sandbox) -> list[int]:
    return [int(line) for line in sandbox.commands.run(HELD, user="root").stdout.split()]


def test_calls(wire: Wire) -> None:
    answers: set[int] = set()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=_ASKED is None,
        suppress_health_check=list(HealthCheck),
    )
    @given(requests())
    def send(request: Request) -> None:
        answer = wire.send(f"/{request.method}", request.head, request.body, request.missing)
        answer.check()
        answers.add(answer.status)

    send()
    assert {200, 400, 401, 404, 415} <= answers
    assert wire.sandbox.is_running()


def test_a_frame_of_many_gigabytes_is_not_waited_for(wire: Wire) -> None:
    kind = {"Content-Type": "application/connect+json"}
    answer = wire.send("/process.Process/Start", kind, b"\x00\xff\xff\xff\xff" + b"x" * 100)
    answer.check()
    assert answer.status


def test_files(wire: Wire) -> None:
    for method, path, head, body in file_requests():
        answer = wire.send(path, head, body, method=method)
        assert answer.status, (method, path, head, body[:100])
        assert answer.status < 500, (answer, method, path, head, body[:100])
        if answer.status >= 400 and answer.status != 416:
            assert answer.kind == "application/json", (answer, method, path, head, body[:100])
            assert json.loads(answer.body)["code"] == answer.status
    assert wire.sandbox.is_running()
