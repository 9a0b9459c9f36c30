"""The E2B requests about sandboxes, and what they ask of control."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import parse_qsl, unquote

from pydantic import AfterValidator, BeforeValidator, Field

from berm import models
from berm.api.requests.common import Body, Level, Query, Seconds, Text, Variable, millis, split, utc
from berm.api.wire.common import Json
from berm.control.creation import NewSandbox
from berm.errors import BermError, Code
from berm.models import (
    AGENT_PORT,
    EVERYWHERE,
    Ingress,
    Lifecycle,
    LogLine,
    OnTimeout,
    State,
    VolumeMount,
)
from berm.observability.logs import at_least, known_level
from berm.store.sandboxes import Filter


def _no_agent_port(port: int) -> int:
    if port == AGENT_PORT:
        raise ValueError(f"{AGENT_PORT} is the port of the sandbox's agent, which speaks plain HTTP")
    return port


# What goes into the head of a request unread must not end its line.
HostMask = Annotated[str, Field(pattern=r"^(?:[A-Za-z0-9._:\[\]-]|\$\{PORT\})*$", max_length=255)]
TlsPort = Annotated[int, Field(ge=1, le=65535), AfterValidator(_no_agent_port)]


class SocksTls(Body):
    enabled: bool
    server_name: Annotated[Text | None, Field(max_length=253)] = None
    ca_cert: Annotated[Text | None, Field(max_length=8192)] = None

    def model(self) -> models.SocksTls | None:
        """None if it is off. Raises BermError INVALID_ARGUMENT if it is and more is said."""
        if self.enabled:
            return models.SocksTls(self.server_name or "", self.ca_cert or "")
        for field, value in (("serverName", self.server_name), ("caCert", self.ca_cert)):
            if value is not None:
                raise BermError(
                    Code.INVALID_ARGUMENT,
                    f"network.egressProxy.tls.{field} is set, and enabled is False",
                    "set enabled, or leave it out",
                )
        return None


class EgressProxy(Body):
    address: Text
    username: Text | None = None
    password: Text | None = None
    tls: SocksTls | None = None

    def model(self) -> models.Socks:
        """Raises BermError INVALID_ARGUMENT."""
        tls = self.tls.model() if self.tls else None
        return models.Socks(self.address, self.username or "", self.password or "", tls)


class Transform(Body):
    headers: dict[Text, Text] | None = None


class Rule(Body):
    transform: Transform | None = None

    @property
    def headers(self) -> dict[str, str]:
        return (self.transform and self.transform.headers) or {}


class Egress(Body):
    """The half of a network that is about what the sandbox reaches."""

    allow_out: list[Text] | None = None
    deny_out: list[Text] | None = None
    dns_servers: list[Text] | None = None
    egress_proxy: EgressProxy | None = None
    rules: dict[Text, list[Rule]] | None = None

    def model(self) -> models.Egress:
        """Raises BermError INVALID_ARGUMENT naming a field that cannot be."""
        servers = self.dns_servers
        return models.Egress(
            allow_out=tuple(self.allow_out or ()),
            deny_out=tuple(self.deny_out or ()),
            dns_servers=None if servers is None else tuple(servers),
            proxy=self.egress_proxy.model() if self.egress_proxy else None,
            rules={host: _headers(rules) for host, rules in (self.rules or {}).items()},
        )


def _headers(rules: list[Rule]) -> dict[str, str]:
    """What the rules for one host set together, in their order."""
    return {name: value for rule in rules for name, value in rule.headers.items()}


class Network(Egress):
    """The network of a new sandbox."""

    allow_public_traffic: bool | None = None
    mask_request_host: HostMask | None = None
    https_ports: Annotated[list[TlsPort], Field(max_length=100)] | None = None


class NetworkUpdate(Egress):
    """PUT /sandboxes/{sandboxID}/network. What is left out is cleared."""

    allow_internet_access: Annotated[bool | None, Field(alias="allow_internet_access")] = None


def _or_default(network: object) -> object:
    return Network() if network is None else network


class AutoResume(Body):
    enabled: bool


class IamToken(Body):
    """`SandboxIamToken`."""

    audience: Annotated[Text, Field(min_length=1, max_length=1024)]
    token_type: Text


class Iam(Body):
    tokens: Annotated[dict[Text, IamToken] | None, Field(max_length=32)] = None

    def model(self) -> dict[str, models.IdentityToken]:
        tokens = (self.tokens or {}).items()
        return {name: models.IdentityToken(token.audience, token.token_type) for name, token in tokens}


class Mounting(Body):
    """`SandboxVolumeMount`."""

    name: Text
    path: Annotated[Text, Field(max_length=256)]


class CreateSandbox(Body):
    """POST /v2/sandboxes. None stands for a field that is left out."""

    template_id: Annotated[Text, Field(alias="templateID")]
    timeout: Seconds | None = None
    metadata: dict[Text, Text] | None = None
    env_vars: dict[Variable, Text] | None = None
    allow_internet_access: Annotated[bool | None, Field(alias="allow_internet_access")] = None
    network: Annotated[Network, BeforeValidator(_or_default)] = Network()
    auto_pause: bool | None = None
    auto_pause_memory: bool | None = None
    auto_resume: AutoResume | None = None
    volume_mounts: Annotated[list[Mounting], Field(max_length=16)] | None = None
    mcp: Json | None = None
    iam: Iam | None = None


class CreateSandboxV1(CreateSandbox):
    """POST /sandboxes, where the agent can be left open."""

    secure: bool | None = None


class Timeout(Body):
    timeout: Seconds


class Connect(Body):
    timeout: Seconds | None = None
    memory: bool | None = None


class Pause(Body):
    memory: bool | None = None
    require_healthy_guest: bool | None = None


class Resume(Body):
    timeout: Seconds | None = None
    auto_pause: bool | None = None


class Refresh(Body):
    duration: Annotated[int, Field(ge=0, le=3600)] | None = None


def new_sandbox(body: CreateSandbox) -> NewSandbox:
    """Raises BermError INVALID_ARGUMENT naming a field that cannot be."""
    egress = replace(body.network.model(), tokens=body.iam.model() if body.iam else {})
    closed = egress.plain and EVERYWHERE in egress.deny_out
    return NewSandbox(
        template=body.template_id,
        timeout=body.timeout,
        metadata=body.metadata or {},
        env=body.env_vars or {},
        secure=not isinstance(body, CreateSandboxV1) or body.secure is not False,
        allow_internet=False if closed else body.allow_internet_access,
        lifecycle=_lifecycle(body),
        ingress=_ingress(body.network),
        private=body.network.allow_public_traffic is False,
        egress=egress,
        volume_mounts=tuple(VolumeMount(mount.name, mount.path) for mount in body.volume_mounts or ()),
    )


def _ingress(network: Network) -> Ingress:
    ports = tuple(dict.fromkeys(network.https_ports or ()))
    return Ingress(mask_host=network.mask_request_host or "", https_ports=ports)


def _lifecycle(body: CreateSandbox) -> Lifecycle:
    """Raises BermError INVALID_ARGUMENT for wishes that exclude each other."""
    keep_memory = body.auto_pause_memory is not False
    auto_resume = body.auto_resume is not None and body.auto_resume.enabled
    if auto_resume and not keep_memory:
        raise BermError(
            Code.INVALID_ARGUMENT,
            "autoResume.enabled is True and autoPauseMemory is False: without its processes there is nothing "
            "in a sandbox to answer a request",
            "leave one of them out",
        )
    return Lifecycle(OnTimeout.PAUSE if body.auto_pause else OnTimeout.KILL, keep_memory, auto_resume)


def _pairs(text: str) -> dict[str, str]:
    """`k=v&k=v`, where keys and values are percent-encoded once more than a query needs."""
    pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True)
    return {unquote(key): unquote(value) for key, value in pairs}


class ListSandboxesV1(Query):
    """GET /sandboxes."""

    metadata: Annotated[dict[str, str] | None, BeforeValidator(_pairs)] = None


class ListSandboxes(ListSandboxesV1):
    """GET /v2/sandboxes, without its paging."""

    state: Annotated[list[State], BeforeValidator(split)] = Field(default_factory=lambda: list(State))
    order: Literal["asc", "desc"] = "desc"
    started_after: Annotated[datetime, AfterValidator(utc)] | None = None
    template: Text | None = None

    def filter(self) -> Filter:
        return Filter(self.state, self.template, self.started_after, self.metadata)


class LogQueryV1(Query):
    """GET /sandboxes/{sandboxID}/logs. `start` is in milliseconds since 1970."""

    start: Annotated[int, Field(ge=0)] = 0
    limit: Annotated[int, Field(ge=0)] = 1000

    def select(self, lines: Iterable[LogLine]) -> list[LogLine]:
        return [line for line in lines if millis(line.timestamp) >= self.start][: self.limit]


class LogQuery(Query):
    """GET /v2/sandboxes/{sandboxID}/logs. `cursor`, in milliseconds, is where the reading starts."""

    cursor: Annotated[int, Field(ge=0)] | None = None
    limit: Annotated[int, Field(ge=0, le=1000)] = 1000
    direction: Literal["forward", "backward"] = "forward"
    level: Level = "debug"
    search: Annotated[str, Field(max_length=256)] = ""

    def select(self, lines: Iterable[LogLine]) -> list[LogLine]:
        """The lines that are asked for, of a log that is in order of time."""
        found = [line for line in lines if self._wants(line)]
        return (found if self.direction == "forward" else found[::-1])[: self.limit]

    def _wants(self, line: LogLine) -> bool:
        severe = known_level(line.level) in at_least(self.level)
        return severe and self.search in line.message and self._reaches(millis(line.timestamp))

    def _reaches(self, millis: float) -> bool:
        if self.cursor is None:
            return True
        return millis >= self.cursor if self.direction == "forward" else millis <= self.cursor
