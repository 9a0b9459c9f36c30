"""Files and directories between this machine and a sandbox."""

import os
import secrets
import stat
import sys
import tarfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import httpx

from berm.cli import processes
from berm.cli.client import JSON
from berm.cli.envd import Agent
from berm.cli.output import Progress, note, progress
from berm.errors import BermError, Code

_CHUNK = 256 * 1024
_UNPACK = 'mkdir -p -- "$1" && exec tar -xof - -C "$1"'
_PACK = 'exec tar -cf - -C "$1" .'


def upload(agent: Agent, source: str, target: str) -> None:
    """Copy a file, a directory's contents, or stdin (`-`) to a path of the sandbox."""
    if source == "-":
        agent.write(target, _chunks(sys.stdin.buffer, None))
    elif Path(source).is_dir():
        _upload_directory(agent, Path(source), target)
    else:
        _upload_file(agent, Path(source), target)


def _upload_file(agent: Agent, source: Path, target: str) -> None:
    if target.endswith("/"):
        target += source.name
    with _opened(source) as file, progress(source.name, _size(file)) as shown:
        agent.write(target, _chunks(file, shown))


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise BermError(Code.INVALID_ARGUMENT, f"cannot read {str(path)!r}: {error.strerror}") from None
    with file:
        yield file


def _size(file: BinaryIO) -> int | None:
    """The size of a regular file; None for pipes and devices."""
    found = os.fstat(file.fileno())
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _chunks(file: BinaryIO, shown: Progress | None) -> Iterator[bytes]:
    while data := file.read(_CHUNK):
        yield data
        if shown:
            shown(len(data))


def download(agent: Agent, source: str, target: str) -> None:
    """Copy a file or a directory's contents of the sandbox here; `-` is stdout."""
    if target == "-":
        _read_to(agent, source, sys.stdout.buffer)
    elif _is_directory(agent, source):
        _download_directory(agent, source, Path(target))
    else:
        _download_file(agent, source, Path(target))


def _is_directory(agent: Agent, path: str) -> bool:
    entry = agent.call("filesystem.Filesystem/Stat", {"path": path}).get("entry", {})
    return bool(entry.get("type") == "FILE_TYPE_DIRECTORY")


def _read_to(agent: Agent, source: str, file: BinaryIO) -> None:
    with agent.read(source) as response:
        receive(response, file, Path(source).name)
    file.flush()


def receive(response: httpx.Response, file: BinaryIO, label: str) -> None:
    """Write a streamed response's body to a file, with progress for a person."""
    length = response.headers.get("content-length", "")
    with progress(label, int(length) if length.isdecimal() else None) as shown:
        for data in response.iter_bytes(_CHUNK):
            file.write(data)
            shown(len(data))


def _download_file(agent: Agent, source: str, target: Path) -> None:
    if target.is_dir():
        target /= Path(source).name
    with replacing(target) as file:
        _read_to(agent, source, file)


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """Write beside the target and rename at the end, so a broken transfer leaves no half a file."""
    if target.exists() and not target.is_file():
        with target.open("wb") as file:  # a device or a pipe is written to, not replaced
            yield file
        return
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with beside.open("xb") as file:
            yield file
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _upload_directory(agent: Agent, source: Path, target: str) -> None:
    reader, writer = os.pipe()
    with ThreadPoolExecutor(1) as pool, open(reader, "rb") as stdin:
        packing = pool.submit(_pack, source, writer)
        code = _run_tar(agent, _UNPACK, target, stdin.fileno(), {})
    packing.result()
    _check_tar(code)


def _pack(source: Path, writer: int) -> None:
    with (
        suppress(BrokenPipeError),  # the tar that reads has failed, and says so itself
        open(writer, "wb") as pipe,
        tarfile.open(fileobj=pipe, mode="w|") as archive,
    ):
        archive.add(source, arcname=".")


def _download_directory(agent: Agent, source: str, target: Path) -> None:
    reader, writer = os.pipe()
    code = 0
    with ThreadPoolExecutor(1) as pool:
        unpacking = pool.submit(_unpack, reader, target)
        with open(writer, "wb", buffering=0), suppress(BrokenPipeError):  # then unpacking has failed
            code = _run_tar(agent, _PACK, source, None, processes.descriptors(stdout=writer))
    _check_tar(code)
    unpacking.result()


def _unpack(reader: int, target: Path) -> None:
    """The archive comes from the sandbox: the `data` filter refuses paths and links that lead elsewhere."""
    with open(reader, "rb") as pipe:
        target.mkdir(parents=True, exist_ok=True)
        try:
            with tarfile.open(fileobj=pipe, mode="r|") as archive:
                archive.extractall(target, filter="data")
        except tarfile.TarError as error:
            raise BermError(Code.INVALID_ARGUMENT, f"the sandbox's archive was refused: {error}") from None
        while pipe.read(_CHUNK):
            pass  # padding after the end mark


def _run_tar(
    agent: Agent, script: str, path: str, source: int | None, sinks: Mapping[str, processes.Sink]
) -> int:
    request: JSON = {"process": {"cmd": "/bin/sh", "args": ["-c", script, "sh", path]}}
    return processes.run(agent, request, source, {"stderr": _complain, **sinks})


def _complain(data: bytes) -> None:
    note(data.decode(errors="replace").rstrip("\n"))


def _check_tar(code: int) -> None:
    if code:
        raise BermError(
            Code.INTERNAL,
            f"tar in the sandbox ended with exit code {code}",
            "directories need `tar` in the template; files do not",
        )
