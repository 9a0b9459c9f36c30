"""The composition root: one process that serves the API and the gateway over this machine's node."""

import argparse
import asyncio
import fcntl
import json
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn
import uvloop

from berm import __version__
from berm.api.app import create_app
from berm.config import Config, load
from berm.control.base import begin_base, make_base
from berm.control.control import Control
from berm.errors import BermError, Code
from berm.gateway.app import Gateway
from berm.gateway.certificate import Certificate
from berm.gateway.renewal import Order, keep
from berm.gateway.server import add_tls, uvicorn_config
from berm.models import Endpoint, Ingress, State
from berm.node import daemon
from berm.node.local import LocalNode
from berm.observability import logs
from berm.store.builds import Build
from berm.store.database import Database

_BACKLOG = 1024
log = logging.getLogger("berm.server")


def main() -> None:
    """`python -m berm.server`: serve until SIGTERM; sandboxes live on after it."""
    parser = argparse.ArgumentParser(prog="berm.server", description=__doc__)
    parser.add_argument("--ready-fd", type=int, help="descriptor that is told `ready` or what went wrong")
    ready_fd: int | None = parser.parse_args().ready_fd
    if ready_fd is not None:
        os.set_inheritable(ready_fd, False)
    try:
        config = load()
        logs.configure(config.log_level)
        _allow_descriptors()
        uvloop.run(serve(config, lambda: _tell(ready_fd, "ready")))
    except BermError as failure:
        reason = {"code": failure.code, "message": failure.message, "hint": failure.hint}
        _tell(ready_fd, json.dumps(reason))
        sys.exit(str(failure))


def _allow_descriptors() -> None:
    """Every sandbox and every connection is a descriptor; the usual limit is 1024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _tell(fd: int | None, word: str) -> None:
    if fd is not None:
        os.write(fd, f"{word}\n".encode())
        os.close(fd)


def teardown(config: Config) -> list[str]:
    """Give back all that a stopped server left on this machine but its files; says what was freed."""
    return asyncio.run(daemon.tear_down(config))


async def serve(config: Config, ready: Callable[[], None]) -> None:
    """Serve until told to stop. Raises BermError when another server has the state directory or the port."""
    config.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    config.home.chmod(0o700)
    with _locked(config), _listening(config) as listener, _tls(config) as tls:
        async with _control(config) as (control, node):
            gateway = Gateway(create_app(control, config), _Resolver(control), config.public_domain)
            server = _Server(uvicorn_config(gateway, host=config.host, port=config.port))
            server.listening = lambda: _listens(config, ready)
            server.tls = tls
            team = await control.keys.first_team()
            build = await begin_base(control.workshop.node, control.templates, team.team_id)
            tasks = [asyncio.ensure_future(_follow(node, gateway))]
            if tls is not None:
                tasks.append(asyncio.ensure_future(tls.certificate.follow()))
            if tls is not None and tls.order is not None:
                tasks.append(asyncio.ensure_future(keep(tls.order)))
            if build is not None:
                tasks.append(asyncio.ensure_future(_base(control, build)))
            try:
                await server.serve([listener])
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                gateway.pool.close()


@asynccontextmanager
async def _control(config: Config) -> AsyncIterator[tuple[Control, LocalNode]]:
    node = LocalNode(config)
    control = Control.over(Database(config.database), node, config)
    await node.start()
    try:
        await control.start()
        yield control, node
        await control.close()
    finally:
        await node.close()


async def _base(control: Control, build: Build) -> None:
    try:
        team = await control.keys.first_team()
        await make_base(control.workshop, control.templates, team.team_id, build, control.config)
    except BermError as failure:
        log.error("the base template could not be made: %s", failure)


async def _follow(node: LocalNode, gateway: Gateway) -> None:
    async for sandbox_id in node.departed():
        gateway.drop(sandbox_id)


@dataclass(frozen=True, slots=True)
class _Resolver:
    """What the gateway asks of the control plane."""

    control: Control

    def resolve(self, sandbox_id: str, port: int) -> Endpoint | None:
        return self.control.sandboxes.endpoint(sandbox_id, port)

    def ingress(self, sandbox_id: str) -> Ingress | None:
        return self.control.sandboxes.ingress(sandbox_id)

    def is_access_token(self, sandbox_id: str, given: str) -> bool:
        return self.control.sandboxes.is_access_token(sandbox_id, given)

    async def wake(self, sandbox_id: str) -> State | None:
        return await self.control.sandboxes.wake(sandbox_id)

    def signer(self, method: str, query: Mapping[str, str]) -> str | None:
        return self.control.sandboxes.signer(method, query)


@dataclass(frozen=True, slots=True)
class _Tls:
    """The TLS port."""

    listener: socket.socket
    certificate: Certificate
    order: Order | None


class _Server(uvicorn.Server):
    listening: Callable[[], None]
    tls: _Tls | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on a signal, and then go on: uvicorn's own would end the process before anything is closed."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.tls is not None:
            await add_tls(self, self.tls.listener, self.tls.certificate.context)
        self.listening()


def _listens(config: Config, ready: Callable[[], None]) -> None:
    record = {"pid": os.getpid(), "url": config.url, "version": __version__}
    fresh = config.run_dir / "server.json.new"
    fresh.write_text(json.dumps(record))
    fresh.rename(config.run_dir / "server.json")
    ready()


@contextmanager
def _locked(config: Config) -> Iterator[None]:
    with (config.run_dir / "server.lock").open("w") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise BermError(
                Code.CONFLICT,
                f"another server runs on the state directory {config.home}",
                "stop it with `berm down`, or give this one a BERM_HOME of its own",
            ) from None
        try:
            yield
        finally:
            with suppress(FileNotFoundError):
                Path(config.run_dir / "server.json").unlink()


def _listening(config: Config) -> socket.socket:
    return _listener(config.host, config.port, "BERM_PORT or BERM_HOST")


@contextmanager
def _tls(config: Config) -> Iterator[_Tls | None]:
    if not config.tls:
        yield None
        return
    order = _order(config)
    certificate = _certificate(config, order)
    with _listener(
        config.tls_host or config.host, config.tls_port, "BERM_TLS_PORT or BERM_TLS_HOST"
    ) as listener:
        yield _Tls(listener, certificate, order)


def _order(config: Config) -> Order | None:
    """What is obtained from an ACME authority, if anything is."""
    if not config.acme_authority:
        return None
    if config.tls_cert or config.tls_key:
        raise BermError(
            Code.INVALID_ARGUMENT,
            "BERM_TLS_CERT or BERM_TLS_KEY is set, and BERM_ACME_AUTHORITY as well",
            "unset either: a certificate comes from files or from an authority",
        )
    domain = config.domain.partition(":")[0]
    order = Order(config.acme_authority, config.acme_email, config.acme_hook, domain, config.tls_dir)
    order.check()
    return order


def _certificate(config: Config, order: Order | None) -> Certificate:
    if order is None:
        certificate = Certificate(Path(config.tls_cert), Path(config.tls_key))
        certificate.load()
        return certificate
    certificate = Certificate(order.chain, order.key)
    if order.chain.exists():
        certificate.look()
    return certificate


def _listener(host: str, port: int, settings: str) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=_BACKLOG)
    except OSError as failure:
        raise BermError(
            Code.CONFLICT,
            f"cannot listen on {host}:{port}: {failure.strerror}",
            f"set {settings} to an address that is free",
        ) from None


if __name__ == "__main__":
    main()
