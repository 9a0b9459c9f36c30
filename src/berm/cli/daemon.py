"""The server's process on this machine: start it, find it, end it."""

import fcntl
import json
import os
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from berm.config import Config
from berm.errors import BermError, Code

_LOCK = "hhqqi"
"""`struct flock` of fcntl(2): type, whence, start, length, process."""
_WANTED_LOCK = struct.pack(_LOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
COMMAND = (sys.executable, "-P", "-m", "berm.server")


@dataclass(frozen=True, slots=True)
class Record:
    """What a listening server has written about itself."""

    pid: int
    url: str
    version: str


def running(config: Config) -> Record | None:
    """The server that holds this state directory; None if there is none, or not one that listens yet."""
    record = _recorded(config.run_dir / "server.json")
    if record and locked(config) and _holds(record.pid, config.run_dir / "server.lock"):
        return record
    return None


def locked(config: Config) -> bool:
    """Whether a server, listening or not yet, holds this state directory; asks without taking the lock."""
    try:
        with open(config.run_dir / "server.lock", "rb") as file:
            answer = fcntl.fcntl(file, fcntl.F_GETLK, _WANTED_LOCK)
    except FileNotFoundError:
        return False
    kind: int = struct.unpack(_LOCK, answer)[0]
    return kind != fcntl.F_UNLCK


def _recorded(path: Path) -> Record | None:
    try:
        fields = json.loads(path.read_text())
        return Record(int(fields["pid"]), str(fields["url"]), str(fields["version"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise BermError(Code.INTERNAL, f"{path} cannot be understood: {error!r}", "remove it") from None


def _holds(pid: int, lock: Path) -> bool:
    """Whether a process has the lock's file open: a pid alone may have been given to another by now."""
    wanted = lock.stat()
    return any(os.path.samestat(wanted, found) for found in _open_files(pid))


def _open_files(pid: int) -> Iterator[os.stat_result]:
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:
        return
    for descriptor in descriptors:
        try:
            yield descriptor.stat()
        except FileNotFoundError:
            continue


def start(config: Config) -> Record:
    """Start a server in a session of its own; returns when it listens. Raises BermError if it gives up."""
    config.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = config.run_dir / "server.log"
    answer = _spawn(log)
    record = running(config) if answer == "ready" else None
    if record is None:
        raise _failure(answer, log)
    return record


def _spawn(log: Path) -> str:
    """Start the server and wait for the line it writes when it listens or gives up; empty if it just ends."""
    reader, writer = os.pipe()
    with open(reader) as answer, open(writer, "wb") as ready, open(log, "ab") as output:
        subprocess.Popen(
            [*COMMAND, "--ready-fd", str(ready.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[ready.fileno()],
            start_new_session=True,
        )
        ready.close()
        return answer.readline().strip()


def _failure(answer: str, log: Path) -> BermError:
    """The server's reason: `{"code", "message", "hint"}` as JSON, or else plain text."""
    try:
        fields = json.loads(answer)
        return BermError(Code(fields["code"]), str(fields["message"]), str(fields.get("hint", "")))
    except (ValueError, KeyError, TypeError):
        message = answer or "it ended without a reason"
        return BermError(Code.UNAVAILABLE, f"the server did not start: {message}", f"its log is {log}")


def replace() -> NoReturn:
    """Become the server."""
    os.execv(COMMAND[0], COMMAND)  # noqa: S606 - a list of our own, no shell


def stop(config: Config) -> Record | None:
    """End the server and wait until it is gone; None if there was none."""
    record = running(config)
    if record is None:
        return None
    try:
        process = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return None
    try:
        return _end(process, record, config)
    finally:
        os.close(process)


def _end(process: int, record: Record, config: Config) -> Record | None:
    """Look once more whether it is the server: from now on `process` keeps its pid from being given away."""
    if running(config) != record:
        return None
    signal.pidfd_send_signal(process, signal.SIGTERM)
    select.select([process], [], [])
    return record
