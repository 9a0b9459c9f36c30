"""A real agent, as a process on loopback, for each test that asks."""

import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from e2b import AsyncSandbox, ConnectionConfig, Sandbox
from packaging.version import Version

TOKEN = "token-of-the-tests"


@dataclass(frozen=True)
class Agent:
    """A running agent, and a client of it that has the access token."""

    pid: int
    url: str
    client: httpx.Client
    log: Path

    def sandbox(self) -> Sandbox:
        return Sandbox(**self._options())

    def async_sandbox(self) -> AsyncSandbox:
        return AsyncSandbox(**self._options())

    def _options(self) -> Any:
        return {
            "sandbox_id": "itests",
            "envd_version": Version("0.6.13"),
            "envd_access_token": TOKEN,
            "sandbox_domain": "sandbox.test",
            "connection_config": ConnectionConfig(
                api_key="e2b_00",
                sandbox_url=self.url,
                extra_sandbox_headers={"X-Access-Token": TOKEN},
            ),
        }


Start = Callable[..., Agent]


@pytest.fixture(scope="module")
def start_agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start an agent with these config fields; it is ended with the module's tests."""
    running: list[subprocess.Popen[bytes]] = []
    clients: list[httpx.Client] = []

    def start(command: tuple[str, ...] = (), **config: Any) -> Agent:
        directory = tmp_path_factory.mktemp("agent")
        settings = {"access_token": TOKEN, "user": "root", "env": {"HOME": str(directory)}} | config
        log = directory / "log"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [
                    *command,
                    sys.executable,
                    "-m",
                    "berm.agent",
                    "--port",
                    "0",
                    "--config",
                    json.dumps(settings),
                ],
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )
        running.append(process)
        assert process.stdout
        url = f"http://127.0.0.1:{int(process.stdout.readline())}"
        client = httpx.Client(base_url=url, headers={"X-Access-Token": TOKEN}, timeout=60)
        clients.append(client)
        return Agent(process.pid, url, client, log)

    yield start
    for client in clients:
        client.close()
    for process in running:
        # The whole group: with a `command` before it, the agent is a child of what was started.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout
        process.stdout.close()


@pytest.fixture(scope="module")
def agent(start_agent: Start) -> Agent:
    return start_agent()


@pytest.fixture(scope="module")
def client(agent: Agent) -> httpx.Client:
    return agent.client


@pytest.fixture(scope="module")
def sandbox(agent: Agent) -> Sandbox:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return agent.sandbox()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of one megabyte and some hundreds of names."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=500", "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", str(path)], check=True)
