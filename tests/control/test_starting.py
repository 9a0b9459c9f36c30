"""What runs in a sandbox before it is handed out: start command, ready command, health check."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from berm.control import starting
from berm.control.starting import HealthError, StartError
from berm.errors import BermError, Code
from berm.images.process import ignore
from berm.models import Resources, SandboxSpec, Template
from berm.node.interface import Command
from berm.templates.plan import Health
from tests.fakes import FakeNode, Output, Program

ID = "sandbox"
LONG = 60.0
CHECK = ("curl", "--fail", "localhost")


@pytest.fixture
async def node() -> FakeNode:
    """With one sandbox."""
    node = FakeNode()
    await node.create(SandboxSpec(ID, ("layer",), Resources(), True, {}, "user", "", "token"))
    return node


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every pause, which is over at once."""
    made: list[float] = []
    sleep = asyncio.sleep

    async def pause(seconds: float) -> None:
        made.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", pause)
    return made


def template(start: str = "", ready: str = "", workdir: str = "/work") -> Template:
    return Template(
        "id", "", "build", ("layer",), datetime.now(UTC), env={"A": "b"}, user="me", workdir=workdir,
        start_cmd=start, ready_cmd=ready,
    )  # fmt: skip


def exits(*statuses: int, line: str = "") -> Program:
    """One after the other; the last again and again."""
    left = list(statuses)

    async def program(_spec: SandboxSpec, _command: Command, output: Output) -> int:
        if line:
            output(line)
        return left.pop(0) if len(left) > 1 else left[0]

    return program


async def hangs(_spec: SandboxSpec, _command: Command, _output: Output) -> int:
    return await asyncio.Future[int]()


def refuses(code: Code) -> Program:
    async def program(_spec: SandboxSpec, _command: Command, _output: Output) -> int:
        raise BermError(code, "it cannot be run", "a hint")

    return program


def texts(node: FakeNode) -> list[str]:
    return [command.argv[-1] for _, command in node.commands]


# Start and ready commands


@pytest.mark.parametrize(
    ("start", "ready", "expected"),
    [
        ("", "", []),
        ("serve", "", ["serve"]),
        ("", "ready", ["ready"]),
        ("serve", "ready", ["serve", "ready"]),
    ],
)
async def test_what_is_given_is_run(node: FakeNode, start: str, ready: str, expected: list[str]) -> None:
    await starting.start(node, ID, template(start, ready), LONG)
    assert texts(node) == expected


@pytest.mark.parametrize("workdir", ["/work", ""])
async def test_both_run_as_the_user_of_the_template_in_a_login_shell(node: FakeNode, workdir: str) -> None:
    await starting.start(node, ID, template("serve", "ready", workdir), LONG)
    assert node.commands == [
        (ID, Command(("/bin/bash", "-l", "-c", text), "me", workdir, {"A": "b"}))
        for text in ("serve", "ready")
    ]


async def test_the_ready_command_is_repeated_until_it_succeeds(node: FakeNode, pauses: list[float]) -> None:
    node.program = exits(*[1] * 8, 0)
    await starting.start(node, ID, template("serve", "ready"), LONG)
    assert texts(node) == ["serve", *["ready"] * 9]
    assert pauses == [0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0]


async def test_the_log_tells_what_is_run(node: FakeNode) -> None:
    lines: list[str] = []
    node.program = exits(0, line="it is ready")
    await starting.start(node, ID, template("serve", "ready"), LONG, lines.append)
    assert lines == ["Start command: serve", "Ready command: ready", "it is ready"]


@pytest.mark.parametrize("program", [exits(1), hangs], ids=["fails", "hangs"])
async def test_what_does_not_get_ready_is_given_up(node: FakeNode, program: Program) -> None:
    node.program = program
    with pytest.raises(StartError) as caught:
        await starting.start(node, ID, template("serve", "ready"), 0.05)
    assert caught.value.code is Code.TIMED_OUT
    assert caught.value.message == "the ready command 'ready' did not succeed within 0.05 s"
    assert caught.value.hint


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.INVALID_ARGUMENT])
async def test_what_cannot_be_run_is_a_failed_start(node: FakeNode, code: Code) -> None:
    node.program = refuses(code)
    with pytest.raises(StartError) as caught:
        await starting.start(node, ID, template("serve", "ready"), LONG)
    assert (caught.value.code, caught.value.hint) == (code, "a hint")
    assert caught.value.message == "the start command did not run: it cannot be run"


@pytest.mark.parametrize(("start", "ready"), [("serve", ""), ("", "ready")])
async def test_a_sandbox_that_has_ended_cannot_be_started(node: FakeNode, start: str, ready: str) -> None:
    node.die(ID)
    with pytest.raises(StartError, match="the sandbox has ended"):
        await starting.start(node, ID, template(start, ready), LONG)


async def test_a_start_can_be_broken_off(node: FakeNode) -> None:
    node.program = hangs
    task = asyncio.create_task(starting.start(node, ID, template("", "ready"), LONG))
    while not node.commands:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# Health checks


def health(**fields: float) -> Health:
    return Health(CHECK, retries=int(fields.pop("retries", 3)), **fields)


async def check(node: FakeNode, health: Health, output: Callable[[str], None] = ignore) -> None:
    await starting.check(node, ID, template(), health, output)


async def test_a_health_check_runs_as_the_user_of_the_template(node: FakeNode) -> None:
    lines: list[str] = []
    await check(node, health(), lines.append)
    assert node.commands == [(ID, Command(CHECK, "me", "/work", {"A": "b"}))]
    assert lines[0] == "Health check: curl --fail localhost"


@pytest.mark.parametrize("failures", range(3))
async def test_one_success_is_enough(node: FakeNode, pauses: list[float], failures: int) -> None:
    node.program = exits(*[1] * failures, 0)
    await check(node, health(interval=7, start_interval=5))
    assert len(node.commands) == failures + 1
    assert pauses == [5] * failures


@pytest.mark.parametrize(("retries", "tries"), [(0, 1), (1, 1), (3, 3)])
async def test_after_its_retries_a_check_has_failed(
    node: FakeNode, pauses: list[float], retries: int, tries: int
) -> None:
    node.program = exits(1)
    with pytest.raises(HealthError) as caught:
        await check(node, health(retries=retries, interval=2, start_interval=5))
    assert caught.value.message == f"the health check failed {tries} times: curl --fail localhost"
    assert len(node.commands) == tries
    assert pauses == [2] * (tries - 1)


async def test_a_check_without_an_answer_has_failed(node: FakeNode) -> None:
    node.program = hangs
    lines: list[str] = []
    with pytest.raises(HealthError):
        await check(node, health(retries=2, timeout=0.01, interval=0.01), lines.append)
    assert lines[1:] == ["no answer within 0.01 s"] * 2


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.INVALID_ARGUMENT])
async def test_a_check_that_cannot_be_run_has_failed_at_once(node: FakeNode, code: Code) -> None:
    node.program = refuses(code)
    with pytest.raises(HealthError) as caught:
        await check(node, health())
    assert (caught.value.code, caught.value.hint) == (code, "a hint")
    assert caught.value.message == "the health check did not run: it cannot be run"
    assert len(node.commands) == 1
