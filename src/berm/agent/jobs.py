"""The commands clients started: each lives until it ends, whoever is watching."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress

from protobuf import Oneof

from berm.agent import events
from berm.agent._gen.process_pb import ProcessConfig, ProcessEvent, ProcessSelector
from berm.agent.children import Child, Command, Reaper, resize, spawn
from berm.agent.errors import AgentError, Kind, deadline_exceeded
from berm.agent.events import Stream
from berm.agent.fanout import Fanout, Mailbox
from berm.agent.log import log
from berm.agent.streams import Input, Output
from berm.agent.transcript import Allowance, Transcript

_EVENT_OVERHEAD = 256
_DYING_SECONDS = 2.0


class Job:
    """A running command, its readers and its input."""

    def __init__(self, child: Child, config: ProcessConfig, tag: str | None, transcript: Transcript) -> None:
        self.pid = child.pid
        self.config = config
        self.tag = tag
        self.input = Input(child.input) if child.input is not None else None
        self._terminal = next((fd for fd, name in child.outputs.items() if name == "pty"), None)
        self._transcript = transcript
        self._life: asyncio.TimerHandle | None = None
        self._ended = asyncio.Event()
        self._fanout = Fanout[ProcessEvent](self._pace)
        self._output = Output(child.outputs, self._publish)
        self._pace()

    @property
    def is_terminal(self) -> bool:
        return self._terminal is not None

    def attach(self) -> Mailbox[ProcessEvent]:
        """A mailbox of what the command writes from now on, and of its end."""
        return self._fanout.attach()

    def detach(self, mailbox: Mailbox[ProcessEvent]) -> None:
        self._fanout.detach(mailbox)

    def signal(self, number: int) -> None:
        """Signal the command and what it runs in its process group."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    async def kill(self) -> None:
        """Kill the command and see it end, unless the kernel holds on to it for longer than is usual."""
        self.signal(signal.SIGKILL)
        with suppress(TimeoutError):
            async with asyncio.timeout(_DYING_SECONDS):
                await self._ended.wait()

    def live_for(self, seconds: float, starter: Mailbox[ProcessEvent]) -> None:
        """Kill the command if it still runs then, and fail its starter's stream."""
        self._life = asyncio.get_running_loop().call_later(seconds, self._expire, starter)

    def resize(self, size: tuple[int, int]) -> None:
        """Raises AgentError if it has no terminal."""
        if self._terminal is None:
            raise AgentError(Kind.PRECONDITION, f"process {self.pid} has no terminal")
        resize(self._terminal, size)

    def end(self, status: int) -> None:
        """Give readers what had been written by the time of the exit, then the exit itself.

        Programs left in the background keep their pipes: what they write later is read and dropped, so
        that they neither block nor are killed by SIGPIPE.
        """
        self._ended.set()
        self._output.drain()
        self._transcript.close()
        self._fanout.publish(events.ended(status), _EVENT_OVERHEAD)
        self._fanout.close()
        self._terminal = None
        if self._life:
            self._life.cancel()
        if self.input:
            self.input.abort()

    def _expire(self, starter: Mailbox[ProcessEvent]) -> None:
        starter.cut(deadline_exceeded())
        self.signal(signal.SIGKILL)

    def _publish(self, stream: Stream, data: bytes) -> None:
        self._fanout.publish(events.output(stream, data), len(data) + _EVENT_OVERHEAD)
        self._transcript.add(stream, data)
        self._pace()

    def _pace(self) -> None:
        self._output.read(self._fanout.has_room)


class Jobs:
    """The jobs that run now."""

    def __init__(self, reaper: Reaper) -> None:
        self._reaper = reaper
        self._by_pid: dict[int, Job] = {}
        self._allowance = Allowance()

    def __iter__(self) -> Iterator[Job]:
        return iter(self._by_pid.values())

    def start(self, command: Command, config: ProcessConfig, tag: str | None) -> Job:
        """Raises OSError if it cannot be started."""
        child = spawn(command)
        _log_event(child.pid, "process started", command=" ".join(command.argv), user=command.user.name)
        job = Job(child, config, tag, Transcript(child.pid, self._allowance))
        self._by_pid[job.pid] = job
        self._reaper.on_exit(job.pid, self._ended(job))
        return job

    def find(self, selector: ProcessSelector | None) -> Job:
        """Raises AgentError."""
        match selector and selector.selector:
            case Oneof(field="pid", value=int(pid)):
                job = self._by_pid.get(pid)
                wanted = f"pid {pid}"
            case Oneof(field="tag", value=str(tag)):
                job = next((job for job in self._by_pid.values() if job.tag == tag), None)
                wanted = f"tag '{tag}'"
            case _:
                raise AgentError(Kind.INVALID, "the process is selected by neither pid nor tag")
        if job is None:
            raise AgentError(Kind.NOT_FOUND, f"process with {wanted} not found")
        return job

    def _ended(self, job: Job) -> Callable[[int], None]:
        def ended(status: int) -> None:
            del self._by_pid[job.pid]
            job.end(status)
            _log_event(job.pid, "process ended", status=events.end_text(status))

        return ended


def _log_event(pid: int, event: str, **fields: str) -> None:
    log("info", event, logger="process", pid=str(pid), **fields)
