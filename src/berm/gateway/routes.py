"""From the head of a request to the address it goes to."""

import posixpath
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qsl

from berm import ids
from berm.errors import BermError
from berm.gateway import answers, hosts
from berm.gateway.answers import RefusalError
from berm.gateway.heads import Headers, find, text
from berm.gateway.hosts import Target
from berm.models import AGENT_PORT, Endpoint, Ingress, State

CONTROL_ROUTES = frozenset({"/init", "/freeze", "/unfreeze", "/collapse", "/fsfreeze", "/fsthaw"})
"""Routes of the agent that are for the server alone."""

TRAFFIC_TOKEN = b"e2b-traffic-access-token"
"""The header in which requests carry the token of a sandbox whose ports are not public."""

_ACCESS_TOKEN = b"x-access-token"
_FILES = "/files"
"""The agent's route that signed links lead to."""

_LONGEST_QUERY = 16 * 1024
"""Bytes of a link's: a path of 4096 has three times as many when it is percent-encoded."""

_MOST_FIELDS = 16


class Resolver(Protocol):
    """Knows the sandboxes. All but `wake` is asked for every request, and answered from memory."""

    def resolve(self, sandbox_id: str, port: int) -> Endpoint | None:
        """Where to connect for a port of a sandbox, None if the sandbox is not running."""
        ...

    def ingress(self, sandbox_id: str) -> Ingress | None:
        """How requests reach a sandbox, running or paused; None if there is none."""
        ...

    def is_access_token(self, sandbox_id: str, given: str) -> bool:
        """Whether a sandbox, running or paused, has this token for its agent, or needs none."""
        ...

    async def wake(self, sandbox_id: str) -> State | None:
        """Resume a paused sandbox if requests may do that.

        Returns the state it is in then; None if there is none. Raises BermError if it could not be.
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
    host: bytes = b""
    """The Host that the sandbox is to see; empty leaves the client's."""


class Router:
    def __init__(self, resolver: Resolver, domain: str) -> None:
        self._resolver = resolver
        self._domain = domain

    async def route(self, headers: Headers, path: str) -> Route | None:
        """Where a request goes, None if to the API; `path` is percent-decoded. Raises RefusalError."""
        target = self._target(headers)
        if target is None:
            return None
        ingress = self._resolver.ingress(target.sandbox_id)
        if ingress is None:
            raise answers.sandbox_not_found(target)
        host = b"" if find(headers, b"host") else self._name(target)
        if target.port == AGENT_PORT:
            _check_path(target, path)
        else:
            _check_token(target, ingress, headers)
            host = ingress.mask_host.replace("${PORT}", str(target.port)).encode() or host
        endpoint = self._resolver.resolve(target.sandbox_id, target.port)
        return Route(target, endpoint or await self._woken(target, headers), host)

    def check(self, route: Route) -> bool:
        """Whether a route that was good still leads to its sandbox. Raises RefusalError if that has ended.

        Its address may be another sandbox's by now.
        """
        target = route.target
        if self._resolver.ingress(target.sandbox_id) is None:
            raise answers.sandbox_not_found(target)
        return self._resolver.resolve(target.sandbox_id, target.port) == route.endpoint

    def names_sandbox(self, headers: Headers) -> bool:
        """Whether a request is for a sandbox, or tries to be."""
        try:
            return self._target(headers) is not None
        except RefusalError:
            return True

    def linked(self, method: str, path: str, query_string: bytes) -> Route | None:
        """Where a link to a file goes that names no sandbox, None if it is none. Raises RefusalError."""
        if path != _FILES:
            return None
        query = _fields(query_string)
        if "signature" not in query:
            raise answers.unsigned_link()
        sandbox_id = self._resolver.signer(method, query)
        endpoint = self._resolver.resolve(sandbox_id, AGENT_PORT) if sandbox_id else None
        if sandbox_id is None or endpoint is None:
            raise answers.unknown_signer()
        return Route(Target(sandbox_id, AGENT_PORT), endpoint)

    def _name(self, target: Target) -> bytes:
        """The name of a port, for requests of HTTP/1.0, which may have no Host."""
        return f"{target.port}-{target.sandbox_id}.{self._domain}".encode()

    async def _woken(self, target: Target, headers: Headers) -> Endpoint:
        """Where to connect after a request has woken a sandbox that did not run."""
        token = text(headers, _ACCESS_TOKEN) or ""
        may = target.port != AGENT_PORT or self._resolver.is_access_token(target.sandbox_id, token)
        try:
            state = await self._resolver.wake(target.sandbox_id) if may else State.PAUSED
        except BermError as error:
            raise answers.not_resumed(target, str(error)) from error
        endpoint = self._resolver.resolve(target.sandbox_id, target.port)
        if endpoint is None:
            raise answers.paused(target) if state is State.PAUSED else answers.sandbox_not_found(target)
        return endpoint

    def _target(self, headers: Headers) -> Target | None:
        host = text(headers, b"host") or ""
        sandbox_id = text(headers, b"e2b-sandbox-id")
        port = text(headers, b"e2b-sandbox-port")
        try:
            return hosts.target(host, sandbox_id, port, self._domain)
        except BermError as error:
            raise answers.bad_request(str(error)) from None


def _fields(query_string: bytes) -> dict[str, str]:
    """Of a link, which anybody may send. Raises RefusalError before a long one is decoded."""
    with suppress(ValueError):
        if len(query_string) <= _LONGEST_QUERY:
            query = query_string.decode("latin-1")
            return dict(parse_qsl(query, errors="surrogateescape", max_num_fields=_MOST_FIELDS))
    raise answers.bad_request(
        f"a link to a file has at most {_LONGEST_QUERY} bytes and {_MOST_FIELDS} fields after the ?"
    )


def _check_path(target: Target, path: str) -> None:
    if posixpath.normpath("/" + path.lstrip("/")) in CONTROL_ROUTES:
        raise answers.control_route(target, path)


def _check_token(target: Target, ingress: Ingress, headers: Headers) -> None:
    if ingress.traffic_token is None:
        return
    given = text(headers, TRAFFIC_TOKEN)
    if given is None:
        raise answers.no_traffic_token(target)
    if not ids.same_secret(given, ingress.traffic_token):
        raise answers.wrong_traffic_token(target)
