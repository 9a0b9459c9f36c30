"""A process in a sandbox, driven from here: bytes in and out, signals, terminal size, exit code."""

import os
import select
import signal
import termios
import threading
import tty
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import Literal

from berm.cli.client import JSON
from berm.cli.envd import Agent
from berm.cli.signals import LEAVING, Action, aside, handling, leave
from berm.errors import BermError, Code

CHUNK = 64 * 1024
"""Most bytes of input sent in one message."""

Input = Literal["stdin", "pty"]
Sink = Callable[[bytes], None]

_SIGNALS = {(signal.strsignal(number) or "").lower(): int(number) for number in signal.valid_signals()}
"""A signal's name as the agent's `signal: NAME` writes it -> its number."""


LOGIN_SHELL: JSON = {
    "process": {
        "cmd": "/bin/bash",
        "args": ["-i", "-l"],
        "envs": {"TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"},
    }
}


class Process:
    """A process that has been started, and the stream of what it does."""

    def __init__(self, agent: Agent, events: Iterator[JSON]) -> None:
        self.exit_code: int | None = None
        self._agent = agent
        self._events = events
        self._pid = self._started()

    def _started(self) -> int:
        first = next(self._events, {})
        with _well_formed():
            return int(first["event"]["start"]["pid"])

    def output(self) -> Iterator[tuple[str, bytes]]:
        """Pieces of `stdout`, `stderr` or `pty` until the process has ended; then `exit_code` is set."""
        for message in self._events:
            pieces, ended = _parsed(message)
            yield from pieces
            if ended is not None:
                self.exit_code = ended
        if self.exit_code is None:
            raise BermError(Code.INTERNAL, "the sandbox did not say how the process ended")

    def _call(self, method: str, **body: object) -> None:
        self._agent.call(f"process.Process/{method}", {"process": {"pid": self._pid}, **body})

    def send(self, kind: Input, data: bytes) -> None:
        self._call("SendInput", input={kind: b64encode(data).decode()})

    def close_stdin(self) -> None:
        self._call("CloseStdin")

    def terminate(self) -> None:
        self._call("SendSignal", signal="SIGNAL_SIGTERM")

    def kill(self) -> None:
        self._call("SendSignal", signal="SIGNAL_SIGKILL")

    def resize(self, size: os.terminal_size) -> None:
        self._call("Update", pty=_pty(size))


@contextmanager
def _well_formed() -> Iterator[None]:
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError):
        raise BermError(Code.INTERNAL, "the sandbox sent an event that is not one of a process") from None


def _parsed(message: JSON) -> tuple[list[tuple[str, bytes]], int | None]:
    """The output in an event, and the exit code if it is the last one."""
    with _well_formed():
        event = message["event"]
        pieces = [(name, b64decode(data)) for name, data in event.get("data", {}).items()]
        return pieces, exit_code(event["end"]) if "end" in event else None


def exit_code(end: JSON) -> int:
    """What a shell would report: the exit code, or 128 and the number of the signal that ended it."""
    if end.get("exited") or "exitCode" not in end:
        return int(end.get("exitCode", 0))
    name = str(end.get("status", "")).removeprefix("signal: ")
    return 128 + _SIGNALS.get(name.lower(), 0)


def _pty(size: os.terminal_size) -> JSON:
    return {"size": {"cols": size.columns, "rows": size.lines}}


@contextmanager
def started(agent: Agent, request: JSON) -> Iterator[Process]:
    """Start a process; when left before the process has ended, kill it."""
    process = Process(agent, agent.stream("process.Process/Start", request))
    try:
        yield process
    finally:
        if process.exit_code is None:
            with suppress(BermError):
                process.kill()


_UNREAD = {Code.NOT_FOUND, Code.CONFLICT}
"""How an agent says that a process has ended, or closed its input, without reading all of it."""


class Feed:
    """Sends what can be read from a descriptor to a process, from a thread of its own."""

    def __init__(self, process: Process, kind: Input, source: int) -> None:
        self.failure: BermError | None = None
        self.over = False
        """Whether nobody wants it any more: then its connections may be closed under it at any moment."""
        self._process = process
        self._kind = kind
        self._source = source
        threading.Thread(target=self._run, name="stdin", daemon=True).start()

    def _run(self) -> None:
        try:
            self._pass_on()
        except BermError as error:
            self._fail(error)
        except Exception:
            if not self.over:
                raise

    def _pass_on(self) -> None:
        while data := _read(self._source):
            self._process.send(self._kind, data)
        if self._kind == "stdin":
            self._process.close_stdin()

    def _fail(self, error: BermError) -> None:
        if error.code in _UNREAD:
            return
        self.failure = error
        with suppress(BermError):
            self._process.kill()


@contextmanager
def _fed(process: Process, kind: Input, source: int) -> Iterator[Feed]:
    feed = Feed(process, kind, source)
    try:
        yield feed
    finally:
        feed.over = True


def _read(source: int) -> bytes:
    try:
        select.select([source], [], [])  # the descriptor may be in non-blocking mode
        return os.read(source, CHUNK)
    except OSError:
        return b""  # the terminal was hung up


def write_all(target: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(target, left) :]


def descriptors(**targets: int) -> dict[str, Sink]:
    """Sinks that write each kind of output to a descriptor, as it is."""
    return {name: partial(write_all, target) for name, target in targets.items()}


def run(agent: Agent, request: JSON, source: int | None, sinks: Mapping[str, Sink]) -> int:
    """Run a process with `source` as its stdin and its output given to `sinks`; returns its exit code.

    The first SIGINT terminates the process, the second kills it, the third leaves without waiting.
    """
    with (
        handling(LEAVING),
        aside() as later,
        started(agent, {**request, "stdin": source is not None}) as process,
        handling({signal.SIGINT: (interrupt := _Interrupt(process, later))}),
        nullcontext() if source is None else _fed(process, "stdin", source) as feed,
    ):
        _drain(process, sinks)
    if feed and feed.failure:
        raise feed.failure
    return interrupt.exit_code(process.exit_code or 0)


class _Interrupt:
    """What interrupts do to a process."""

    def __init__(self, process: Process, later: Callable[[Action], None]) -> None:
        self._ways = [process.terminate, process.kill]
        self._later = later
        self._hit = False

    def __call__(self) -> None:
        self._hit = True
        if not self._ways:
            leave(signal.SIGINT)
        self._later(self._ways.pop(0))

    def exit_code(self, code: int) -> int:
        """That of an interrupted command, if an interrupt is what ended it."""
        return 128 + signal.SIGINT if self._hit and code > 128 else code


def _drain(process: Process, sinks: Mapping[str, Sink]) -> None:
    for name, data in process.output():
        if name in sinks:
            sinks[name](data)


@contextmanager
def raw_mode(terminal: int) -> Iterator[None]:
    """Every key goes to the reader at once, also Ctrl-C; the former mode comes back in any case."""
    saved = termios.tcgetattr(terminal)
    tty.setraw(terminal, termios.TCSADRAIN)  # keeps what was typed ahead
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, saved)


def _size(terminal: int) -> os.terminal_size:
    """The terminal's size; 80 by 24 for one that does not know its own, such as a serial line."""
    found = os.get_terminal_size(terminal)
    return found if all(found) else os.terminal_size((80, 24))


def shell(agent: Agent, terminal_in: int, terminal_out: int) -> int:
    """A login shell on a pseudoterminal as large as ours, until it ends; returns its exit code."""
    size = partial(_size, terminal_out)
    with (
        handling(LEAVING),
        aside() as later,
        started(agent, {**LOGIN_SHELL, "pty": _pty(size())}) as process,
        handling({signal.SIGWINCH: lambda: later(lambda: process.resize(size()))}),
        raw_mode(terminal_in),
        _fed(process, "pty", terminal_in),
    ):
        process.resize(size())  # it may have changed before the handler was there
        _drain(process, descriptors(pty=terminal_out))
    return process.exit_code or 0
