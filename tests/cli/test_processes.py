import os
import signal
import threading
from dataclasses import replace
from typing import Any

import pytest

from berm.cli import processes
from berm.cli.envd import Agent
from berm.errors import BermError, Code
from tests.cli.standin import JSON, StandIn, answer, stream

START: JSON = {"event": {"start": {"pid": 7}}}
REQUEST: JSON = {"process": {"cmd": "x"}}


def ended(**fields: object) -> JSON:
    return {"event": {"end": fields}}


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ({"exited": True, "status": "exit status 0"}, 0),
        ({"exited": True, "exitCode": 7, "status": "exit status 7"}, 7),
        ({"exitCode": -1, "status": "signal: killed"}, 128 + signal.SIGKILL),
        ({"exitCode": -1, "status": "signal: segmentation fault"}, 128 + signal.SIGSEGV),
        ({"exitCode": -1, "status": "signal: unheard of"}, 128),
    ],
)
def test_exit_code(end: JSON, code: int) -> None:
    assert processes.exit_code(end) == code


def run(server: StandIn, *messages: Any, end: JSON | None = None) -> int:
    server.on("POST /process.Process/Start", stream(*messages, end={} if end is None else end))
    server.on("POST /process.Process/SendSignal", answer(200, {}))
    with Agent(server.url, "i1", None) as agent:
        return processes.run(agent, REQUEST, None, {})


def test_keepalives_and_unknown_events_are_passed_over(server: StandIn) -> None:
    keepalive: JSON = {"event": {"keepalive": {}}}
    assert run(server, START, keepalive, {"event": {"new": 1}}, ended(exited=True, exitCode=2)) == 2


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"event": {"data": {}}}],
        [{"event": None}],
        [{"event": {"start": {"pid": "x"}}}],
        [START, {"event": []}],
        [START, {}],
        [START, {"event": {"data": {"stdout": "!"}}}],
        [START, {"event": {"data": ["stdout"]}}],
        [START, {"event": {"end": {"exited": True, "exitCode": "x"}}}],
        [START, {"event": {"end": None}}],
        [START],
    ],
)
def test_nonsense_from_the_sandbox_is_an_error_of_ours(server: StandIn, messages: list[JSON]) -> None:
    with pytest.raises(BermError) as caught:
        run(server, *messages)
    assert caught.value.code is Code.INTERNAL


def test_a_process_whose_end_is_not_known_is_killed(server: StandIn) -> None:
    with pytest.raises(BermError, match="early"):
        run(server, START, end={"error": {"code": "internal", "message": "ended early"}})
    assert server.calls[-1].path == "/process.Process/SendSignal"
    assert server.calls[-1].json() == {"process": {"pid": 7}, "signal": "SIGNAL_SIGKILL"}


def test_input_after_the_end_is_lost_without_a_word(server: StandIn) -> None:
    """Its connections are closed by then."""
    server.on("POST /process.Process/Start", stream(START, ended(exited=True), end={}))
    (reader, writer), before = os.pipe(), set(threading.enumerate())
    with Agent(server.url, "i1", None) as agent:
        assert processes.run(agent, REQUEST, reader, {}) == 0
    feeds = [thread for thread in set(threading.enumerate()) - before if thread.name == "stdin"]
    os.write(writer, b"x")
    for thread in feeds:
        thread.join()
    assert len(feeds) == 1
    os.close(reader)
    os.close(writer)


def test_input_that_is_refused_ends_the_process_and_is_reported(server: StandIn) -> None:
    server.on(
        "POST /process.Process/SendInput", answer(400, {"code": "invalid_argument", "message": "no stdin"})
    )
    killed = answer(200, {})
    server.on("POST /process.Process/SendSignal", killed)
    death = stream(ended(exitCode=-1, status="signal: killed"), end={})
    server.on("POST /process.Process/Start", replace(stream(START), then=(killed.given, death.body)))
    reader, writer = os.pipe()
    os.write(writer, b"x")
    with Agent(server.url, "i1", None) as agent, pytest.raises(BermError, match="no stdin"):
        processes.run(agent, REQUEST, reader, {})
    os.close(reader)
    os.close(writer)
