"""/files: bytes down, bytes up, and one file put together from several."""

import asyncio
import os
from contextlib import suppress
from os.path import basename

from berm.agent import http, metadata, users
from berm.agent.config import Settings
from berm.agent.downloads import Content, send_content
from berm.agent.errors import AgentError, Kind, printable
from berm.agent.http import Request, Send
from berm.agent.multipart import Parts
from berm.agent.paths import resolve
from berm.agent.uploads import Upload, decoded
from berm.agent.users import User

_COPY_SIZE = 4 << 20
_MAX_SOURCES = 10_000


class Files:
    """The plain HTTP routes for file contents, with root's rights on behalf of a user."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def download(self, request: Request, send: Send) -> None:
        user = self._user(request.query.get("username"))
        with Content(self._path(request.query.get("path", ""), user)) as content:
            await send_content(content, request, send)

    async def upload(self, request: Request, send: Send) -> None:
        user = self._user(request.query.get("username"))
        receivers = {
            "multipart/form-data": self._receive_form,
            "application/octet-stream": self._receive_stream,
        }
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if (receive := receivers.get(kind)) is None:
            raise AgentError(Kind.INVALID, f"content type {kind!r} is none of {', '.join(receivers)}")
        await http.json_body(send, 200, await receive(request, user))

    async def compose(self, request: Request, send: Send) -> None:
        values = await request.json()
        sources, destination, username = _compose_fields(values)
        user = self._user(username)
        paths = [self._path(source, user) for source in sources]
        target = self._path(destination, user)
        await _concatenate(paths, target, user)
        for path in paths:
            if path != target:
                with suppress(FileNotFoundError):
                    os.unlink(path)
        await http.json_body(send, 200, _entry(target, {}))

    async def _receive_stream(self, request: Request, user: User) -> list[dict[str, object]]:
        if not (path := request.query.get("path")):
            raise AgentError(Kind.INVALID, "the query parameter path is missing")
        attributes = metadata.from_headers(request.headers)
        with Upload(self._path(path, user), user) as upload:
            async for chunk in decoded(request):
                upload.write(chunk)
            upload.finish(attributes)
        return [_entry(upload.path, attributes)]

    async def _receive_form(self, request: Request, user: User) -> list[dict[str, object]]:
        attributes = metadata.from_headers(request.headers)
        path = request.query.get("path")

        def open_part(filename: str | None, index: int) -> Upload:
            if path and index:
                raise AgentError(Kind.INVALID, "the query parameter path names one file, and more were sent")
            if not (chosen := path or filename):
                raise AgentError(
                    Kind.INVALID, "a part has no file name, and there is no query parameter path"
                )
            return Upload(self._path(chosen, user), user)

        with Parts(request.headers["content-type"], open_part, attributes) as parts:
            async for chunk in decoded(request):
                parts.feed(chunk)
            return [_entry(name, attributes) for name in parts.finish()]

    def _user(self, name: str | None) -> User:
        name = name or self._settings.user
        if (user := users.find(name)) is None:
            raise AgentError(
                Kind.UNAUTHENTICATED, f"error looking up user '{name}': user: unknown user {name}"
            )
        return user

    def _path(self, path: str, user: User) -> str:
        return resolve(path, user, self._settings.workdir)


def _entry(path: str, attributes: dict[str, str]) -> dict[str, object]:
    entry = {"name": printable(basename(path)), "path": printable(path), "type": "file"}
    return entry | {"metadata": attributes} if attributes else dict(entry)


def _compose_fields(values: dict[str, object]) -> tuple[list[str], str, str | None]:
    sources, destination, username = (
        values.get(name) for name in ("source_paths", "destination", "username")
    )
    if not isinstance(sources, list) or not all(isinstance(source, str) and source for source in sources):
        raise AgentError(Kind.INVALID, "source_paths is not a list of paths")
    if not 0 < len(sources) <= _MAX_SOURCES:
        raise AgentError(Kind.INVALID, f"source_paths holds {len(sources)} paths, not 1 to {_MAX_SOURCES}")
    if not isinstance(destination, str) or not destination:
        raise AgentError(Kind.INVALID, "destination is not a path")
    if not isinstance(username, str | None):
        raise AgentError(Kind.INVALID, "username is not a string")
    return sources, destination, username


async def _concatenate(sources: list[str], target: str, user: User) -> None:
    """Write beside the target, then rename: a source may be the target."""
    partial = f"{target}.composing"
    try:
        with Upload(partial, user) as upload:
            for source in sources:
                with Content(source) as content:
                    while data := content.read(_COPY_SIZE):
                        upload.write(data)
                        await asyncio.sleep(0)
        os.rename(partial, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(partial)
        raise
