"""The filesystem service: one method per RPC."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from os.path import dirname
from typing import Literal

from protobuf import Oneof

from berm.agent import trees
from berm.agent._gen import filesystem_pb as pb
from berm.agent._gen.filesystem_connect import Filesystem
from berm.agent.config import Settings
from berm.agent.entries import describe
from berm.agent.errors import AgentError, Kind
from berm.agent.paths import make_directories, resolve
from berm.agent.rpc import Context, caller, keepalive_interval, streaming
from berm.agent.users import Names
from berm.agent.watch import Watch, Watchers

_MAX_LISTED = 200_000
_BATCH = 256
_Start = Oneof[Literal["start"], pb.WatchDirResponse.StartEvent]
_Filesystem = Oneof[Literal["filesystem"], pb.FilesystemEvent]
_KeepAlive = Oneof[Literal["keepalive"], pb.WatchDirResponse.KeepAlive]
_STARTED = pb.WatchDirResponse(event=_Start("start", pb.WatchDirResponse.StartEvent()))
_KEEPALIVE = pb.WatchDirResponse(event=_KeepAlive("keepalive", pb.WatchDirResponse.KeepAlive()))


class FilesystemService(Filesystem):
    """Files with root's rights; what it makes belongs to the user who asked."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._watchers = Watchers()

    async def stat(self, request: pb.StatRequest, ctx: Context) -> pb.StatResponse:
        return pb.StatResponse(entry=describe(self._path(request.path, ctx), Names.load()))

    async def make_dir(self, request: pb.MakeDirRequest, ctx: Context) -> pb.MakeDirResponse:
        path = self._path(request.path, ctx)
        if os.path.isdir(path):
            raise AgentError(Kind.EXISTS, f"directory '{path}' already exists")
        if os.path.lexists(path):
            raise AgentError(Kind.INVALID, f"path '{path}' exists and is not a directory")
        make_directories(path, caller(ctx, self._settings.user))
        return pb.MakeDirResponse(entry=describe(path, Names.load()))

    async def move(self, request: pb.MoveRequest, ctx: Context) -> pb.MoveResponse:
        source, destination = self._path(request.source, ctx), self._path(request.destination, ctx)
        os.lstat(source)
        make_directories(dirname(destination), caller(ctx, self._settings.user))
        await trees.move(source, destination)
        return pb.MoveResponse(entry=describe(destination, Names.load()))

    async def list_dir(self, request: pb.ListDirRequest, ctx: Context) -> pb.ListDirResponse:
        names = Names.load()
        entries: list[pb.EntryInfo] = []
        for path in trees.walk(self._path(request.path, ctx), request.depth or 1):
            with suppress(FileNotFoundError, NotADirectoryError):  # gone since it was listed
                entries.append(describe(path, names))
            if len(entries) > _MAX_LISTED:
                raise AgentError(
                    Kind.PRECONDITION, f"more than {_MAX_LISTED} entries: list with a smaller depth"
                )
            if len(entries) % _BATCH == 0:
                await asyncio.sleep(0)
        return pb.ListDirResponse(entries=entries)

    async def remove(self, request: pb.RemoveRequest, ctx: Context) -> pb.RemoveResponse:
        await trees.remove(self._path(request.path, ctx))
        return pb.RemoveResponse()

    async def watch_dir(
        self, request: pb.WatchDirRequest, ctx: Context
    ) -> AsyncIterator[pb.WatchDirResponse]:
        with Watch(self._path(request.path, ctx), request) as watch, streaming(watch.events, ctx):
            yield _STARTED
            async for event in watch.events.drain(keepalive_interval(ctx)):
                yield pb.WatchDirResponse(event=_Filesystem("filesystem", event)) if event else _KEEPALIVE

    async def create_watcher(
        self, request: pb.CreateWatcherRequest, ctx: Context
    ) -> pb.CreateWatcherResponse:
        watch = Watch(self._path(request.path, ctx), request)
        return pb.CreateWatcherResponse(watcher_id=self._watchers.add(watch))

    async def get_watcher_events(
        self, request: pb.GetWatcherEventsRequest, _ctx: Context
    ) -> pb.GetWatcherEventsResponse:
        return pb.GetWatcherEventsResponse(events=self._watchers.get(request.watcher_id).take())

    async def remove_watcher(
        self, request: pb.RemoveWatcherRequest, _ctx: Context
    ) -> pb.RemoveWatcherResponse:
        self._watchers.remove(request.watcher_id)
        return pb.RemoveWatcherResponse()

    def _path(self, path: str, ctx: Context) -> str:
        return resolve(path, caller(ctx, self._settings.user), self._settings.workdir)
