"""The events of a process, as the wire has them."""

import os
import signal
from typing import Literal, cast

from protobuf import Oneof

from berm.agent._gen.process_pb import ProcessEvent

Stream = Literal["stdout", "stderr", "pty"]

Output = Oneof[Literal["stdout"], bytes] | Oneof[Literal["stderr"], bytes] | Oneof[Literal["pty"], bytes]

KEEPALIVE = ProcessEvent(
    event=Oneof[Literal["keepalive"], ProcessEvent.KeepAlive]("keepalive", ProcessEvent.KeepAlive())
)


def started(pid: int) -> ProcessEvent:
    start = ProcessEvent.StartEvent(pid=pid)
    return ProcessEvent(event=Oneof[Literal["start"], ProcessEvent.StartEvent]("start", start))


def output(stream: Stream, data: bytes) -> ProcessEvent:
    chunk = ProcessEvent.DataEvent(output=cast("Output", Oneof(stream, data)))
    return ProcessEvent(event=Oneof[Literal["data"], ProcessEvent.DataEvent]("data", chunk))


def ended(status: int) -> ProcessEvent:
    """The last event, from a wait status."""
    exited = os.WIFEXITED(status)
    text = end_text(status)
    end = ProcessEvent.EndEvent(
        exit_code=os.WEXITSTATUS(status) if exited else -1,
        exited=exited,
        status=text,
        error=text if status else None,
    )
    return ProcessEvent(event=Oneof[Literal["end"], ProcessEvent.EndEvent]("end", end))


def end_text(status: int) -> str:
    """A wait status in words: `exit status 1`, `signal: killed`."""
    if not os.WIFSIGNALED(status):
        return f"exit status {os.WEXITSTATUS(status)}"
    number = os.WTERMSIG(status)
    name = (signal.strsignal(number) or str(number)).lower()
    return f"signal: {name}" + (" (core dumped)" if os.WCOREDUMP(status) else "")
