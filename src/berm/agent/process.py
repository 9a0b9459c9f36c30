"""The process service: one method per RPC."""

import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from protobuf import Oneof

from berm.agent._gen import process_pb as pb
from berm.agent._gen.process_connect import Process
from berm.agent.children import Command
from berm.agent.config import Settings
from berm.agent.errors import AgentError, Kind, from_os_error
from berm.agent.events import KEEPALIVE, started
from berm.agent.fanout import Mailbox
from berm.agent.jobs import Job, Jobs
from berm.agent.paths import resolve
from berm.agent.rpc import Context, caller, keepalive_interval, streaming
from berm.agent.streams import Input
from berm.agent.users import User

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DEFAULT_SIZE = (80, 24)
_MAX_SIZE = 0xFFFF


class ProcessService(Process):
    """Commands and terminals; they outlive the requests that started them."""

    def __init__(self, settings: Settings, jobs: Jobs) -> None:
        self._settings = settings
        self._jobs = jobs

    async def list(self, _request: pb.ListRequest, _ctx: Context) -> pb.ListResponse:
        infos = [pb.ProcessInfo(config=job.config, pid=job.pid, tag=job.tag) for job in self._jobs]
        return pb.ListResponse(processes=infos)

    async def start(self, request: pb.StartRequest, ctx: Context) -> AsyncIterator[pb.StartResponse]:
        job = self._start(request, caller(ctx, self._settings.user))
        mailbox = job.attach()
        if (milliseconds := ctx.timeout_ms) is not None:
            job.live_for(milliseconds / 1000, mailbox)
        async with aclosing(_events(job, mailbox, ctx)) as events:
            async for event in events:
                yield pb.StartResponse(event=event)

    async def connect(self, request: pb.ConnectRequest, ctx: Context) -> AsyncIterator[pb.ConnectResponse]:
        job = self._jobs.find(request.process)
        async with aclosing(_events(job, job.attach(), ctx)) as events:
            async for event in events:
                yield pb.ConnectResponse(event=event)

    async def update(self, request: pb.UpdateRequest, _ctx: Context) -> pb.UpdateResponse:
        job = self._jobs.find(request.process)
        if request.pty:
            job.resize(_size(request.pty))
        return pb.UpdateResponse()

    async def stream_input(
        self, requests: AsyncIterator[pb.StreamInputRequest], _ctx: Context
    ) -> pb.StreamInputResponse:
        job: Job | None = None
        async for request in requests:
            match request.event:
                case Oneof(field="start", value=pb.StreamInputRequest.StartEvent(process=selector)):
                    job = self._jobs.find(selector)
                case Oneof(field="data", value=pb.StreamInputRequest.DataEvent(input=data)):
                    await _send(job, data)
        return pb.StreamInputResponse()

    async def send_input(self, request: pb.SendInputRequest, _ctx: Context) -> pb.SendInputResponse:
        await _send(self._jobs.find(request.process), request.input)
        return pb.SendInputResponse()

    async def send_signal(self, request: pb.SendSignalRequest, _ctx: Context) -> pb.SendSignalResponse:
        job = self._jobs.find(request.process)
        match request.signal:
            case pb.Signal.SIGKILL:
                await job.kill()
            case pb.Signal.SIGTERM:
                job.signal(signal.SIGTERM)
            case other:
                raise AgentError(Kind.INVALID, f"signal {other} is neither SIGTERM nor SIGKILL")
        return pb.SendSignalResponse()

    async def close_stdin(self, request: pb.CloseStdinRequest, _ctx: Context) -> pb.CloseStdinResponse:
        job = self._jobs.find(request.process)
        if job.is_terminal:
            raise AgentError(Kind.PRECONDITION, "a terminal's input cannot be closed: send Ctrl+D (0x04)")
        if job.input:
            await job.input.close()
        return pb.CloseStdinResponse()

    def _start(self, request: pb.StartRequest, user: User) -> Job:
        if not (config := request.process) or not config.cmd:
            raise AgentError(Kind.INVALID, "the process has no command")
        command = Command(
            argv=[config.cmd, *config.args],
            env=self._environment(user, config.envs),
            cwd=self._cwd(config, user),
            user=user,
            stdin=request.stdin or not request.has_field("stdin"),
            size=_size(request.pty) if request.pty else None,
        )
        try:
            return self._jobs.start(command, config, request.tag if request.has_field("tag") else None)
        except FileNotFoundError as error:
            raise AgentError(Kind.INVALID, f"command '{config.cmd}' is not found") from error
        except ValueError as error:
            raise AgentError(Kind.INVALID, f"command '{config.cmd}' cannot be started: {error}") from error
        except OSError as error:
            raise from_os_error(error, config.cmd) from error

    def _environment(self, user: User, envs: dict[str, str]) -> dict[str, str]:
        own = {"PATH": DEFAULT_PATH, "HOME": user.home, "USER": user.name, "LOGNAME": user.name}
        return own | self._settings.env | envs

    def _cwd(self, config: pb.ProcessConfig, user: User) -> str:
        cwd = resolve(config.cwd, user, self._settings.workdir)
        if os.path.isdir(cwd):
            return cwd
        if not config.cwd and not self._settings.workdir:
            return "/"  # as login(1) does for a user whose home is missing
        raise AgentError(Kind.INVALID, f"cwd '{cwd}' does not exist")


async def _events(
    job: Job, mailbox: Mailbox[pb.ProcessEvent], ctx: Context
) -> AsyncGenerator[pb.ProcessEvent]:
    try:
        with streaming(mailbox, ctx):
            yield started(job.pid)
            async for event in mailbox.drain(keepalive_interval(ctx)):
                yield event or KEEPALIVE
    finally:
        job.detach(mailbox)


async def _send(job: Job | None, data: pb.ProcessInput | None) -> None:
    if job is None:
        raise AgentError(Kind.INVALID, "input came before the start that selects a process")
    match data and data.input:
        case Oneof(field="pty" | "stdin" as kind, value=content):
            await _input(job, kind).write(content)
        case _:
            raise AgentError(Kind.INVALID, "the input is neither stdin nor pty")


def _input(job: Job, kind: str) -> Input:
    if (kind == "pty") != job.is_terminal:
        raise AgentError(Kind.INVALID, f"process {job.pid} takes no {kind} input")
    if job.input is None:
        raise AgentError(Kind.PRECONDITION, f"process {job.pid} was started without stdin")
    return job.input


def _size(pty: pb.PTY) -> tuple[int, int]:
    if pty.size is None:
        return _DEFAULT_SIZE
    # A terminal that nobody has given a size says 0.
    columns, rows = pty.size.cols or _DEFAULT_SIZE[0], pty.size.rows or _DEFAULT_SIZE[1]
    if not (0 < columns <= _MAX_SIZE and 0 < rows <= _MAX_SIZE):
        raise AgentError(Kind.INVALID, f"a terminal of {columns} columns and {rows} rows is not possible")
    return columns, rows
