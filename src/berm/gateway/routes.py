"""From the head of a request to the address it goes to."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qsl

from berm.errors import BermError
from berm.gateway import answers, hosts
from berm.gateway.heads import Headers, text
from berm.gateway.hosts import Target
from berm.models import AGENT_PORT, Endpoint

CONTROL_ROUTES = frozenset({"/init", "/freeze", "/unfreeze", "/collapse", "/fsfreeze", "/fsthaw"})
"""Routes of the agent that are for the server alone."""


_FILES = "/files"
"""The agent's route that signed links lead to."""


class Resolver(Protocol):
    """Knows where the sandboxes are."""

    def resolve(self, sandbox_id: str, port: int) -> Endpoint | None:
        """Where to connect for a port of a sandbox, None if the sandbox is not running.

        Called for every request: answers from memory.
        """
        ...

    async def wake(self, sandbox_id: str, port: int, headers: Headers) -> bool:
        """Resume a paused sandbox for a request with these headers; whether it runs then.

        Called where `resolve` knows nothing. Raises BermError if it was to be resumed and could not be.
        """
        ...

    def signer(self, method: str, query: Mapping[str, str]) -> str | None:
        """The running sandbox whose token signed a link to a file; `query` is decoded."""
        ...


@dataclass(frozen=True, slots=True)
class Route:
    """A sandbox port and where to connect for it."""

    target: Target
    endpoint: Endpoint


class Router:
    def __init__(self, resolver: Resolver, domain: str) -> None:
        self._resolver = resolver
        self._domain = domain

    async def route(self, headers: Headers, path: str) -> Route | None:
        """Where a request goes, None if to the API; `path` is percent-decoded. Raises RefusalError.

        A sandbox that is paused and wakes up by requests is resumed first.
        """
        target = self._target(headers)
        if target is None:
            return None
        if target.port == AGENT_PORT and posixpath.normpath("/" + path.lstrip("/")) in CONTROL_ROUTES:
            raise answers.control_route(target, path)
        endpoint = self._resolver.resolve(target.sandbox_id, target.port)
        endpoint = endpoint or await self._woken(target, headers)
        return Route(target, endpoint)

    async def _woken(self, target: Target, headers: Headers) -> Endpoint:
        try:
            woken = await self._resolver.wake(target.sandbox_id, target.port, headers)
        except BermError as error:
            raise answers.not_resumed(target, str(error)) from error
        endpoint = self._resolver.resolve(target.sandbox_id, target.port) if woken else None
        if endpoint is None:
            raise answers.sandbox_not_found(target)
        return endpoint

    def linked(self, method: str, path: str, query_string: bytes) -> Route | None:
        """Where a signed link goes that names no sandbox, None if it is none. Raises RefusalError."""
        query = dict(parse_qsl(query_string.decode("latin-1"), errors="surrogateescape"))
        if path != _FILES or "signature" not in query:
            return None
        sandbox_id = self._resolver.signer(method, query)
        endpoint = self._resolver.resolve(sandbox_id, AGENT_PORT) if sandbox_id else None
        if sandbox_id is None or endpoint is None:
            raise answers.unknown_signer()
        return Route(Target(sandbox_id, AGENT_PORT), endpoint)

    def _target(self, headers: Headers) -> Target | None:
        host = text(headers, b"host") or ""
        sandbox_id = text(headers, b"e2b-sandbox-id")
        port = text(headers, b"e2b-sandbox-port")
        try:
            return hosts.target(host, sandbox_id, port, self._domain)
        except BermError as error:
            raise answers.bad_request(str(error)) from None
