"""The control plane behind a real HTTP server on loopback, in a thread with its own event loop."""

import asyncio
import socket
import ssl
import threading
import uuid
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeVar

import httpx
import uvicorn

from berm.api.app import create_app
from berm.config import Config
from berm.control.control import Control
from berm.models import Template
from berm.store import teams
from berm.store.database import Database
from berm.store.teams import Team
from berm.templates.plan import Settings
from tests.fakes import FakeNode

T = TypeVar("T")

# Making the default context, which plain HTTP has no use for, takes longer than most tests.
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Served:
    """A template `base` is there, and public; `key` is the first API key.

    Raises what keeps it from serving.
    """

    def __init__(self, config: Config, node: FakeNode) -> None:
        self.node = node
        self._config = config
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._serve_or_fail)
        self._thread.start()
        self._ready.result()
        self.client = self.connect(self.key)

    def connect(self, key: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"X-API-Key": key}, verify=_NO_TLS)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` in the server's event loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def other_team_key(self) -> str:
        """A key of a team that has nothing yet."""
        return self.call(self._other_team())

    async def _other_team(self) -> str:
        team = await add_team(self.control)
        return (await self.control.keys.create(team.team_id, "key")).secret

    def close(self) -> None:
        self.client.close()
        self._loop.call_soon_threadsafe(self._serving.cancel)
        self._thread.join()

    def _serve_or_fail(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as failure:
            if self._ready.done():
                raise
            self._ready.set_exception(failure)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.control = Control.over(Database(self._config.database), self.node, self._config)
        try:
            await self._start()
        finally:
            await self.control.close()

    async def _start(self) -> None:
        await self.control.start()
        self.team_id = (await self.control.keys.first_team()).team_id
        self.base = await make_template(self.control, self.team_id, "base")
        self.key = self._config.key_file.read_text().strip()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            await self._serve(listener)

    async def _serve(self, listener: socket.socket) -> None:
        app = create_app(self.control, self._config)
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None))
        self._serving = asyncio.create_task(server.serve([listener]))
        self._ready.set_result(None)
        with suppress(asyncio.CancelledError):
            await self._serving
        server.force_exit = True
        await server.shutdown([listener])


async def add_team(control: Control) -> Team:
    """A team that has nothing, not even a key."""
    team = Team(str(uuid.uuid4()), "other", datetime.now(UTC))
    await control.database.run(teams.add_team, team)
    return team


async def make_template(control: Control, team_id: str, name: str) -> Template:
    """A public template that is ready."""
    build = await control.templates.begin(team_id, name, public=True)
    return await control.templates.finish(build, ["bottom", "top"], Settings({"LANG": "C.UTF-8"}, "user"))
