"""The E2B answers about sandboxes as plain dicts, named after their schemas in the OpenAPI file."""

import json
from collections.abc import Iterable

from berm.api.wire.common import Json, instant, printable
from berm.models import ENVD_VERSION, EVERYWHERE, Egress, Ingress, LogLine, Sandbox, Socks, SocksTls, State
from berm.observability.logs import known_level

CLIENT_ID = "berm"
"""Required in answers and without meaning: every sandbox is reached through this server."""


def sandbox(sandbox: Sandbox, domain: str) -> Json:
    """`Sandbox`: what create and connect answer."""
    return {
        "templateID": sandbox.template_id,
        "sandboxID": sandbox.sandbox_id,
        "alias": sandbox.template_name,
        "clientID": CLIENT_ID,
        "envdVersion": ENVD_VERSION,
        **_token(sandbox),
        **_traffic_token(sandbox),
        "domain": domain,
    }


def listed(sandbox: Sandbox) -> Json:
    """`ListedSandbox`."""
    return {
        "templateID": sandbox.template_id,
        "alias": sandbox.template_name,
        "sandboxID": sandbox.sandbox_id,
        "clientID": CLIENT_ID,
        "startedAt": instant(sandbox.started_at),
        "endAt": instant(sandbox.end_at),
        "cpuCount": sandbox.resources.cpu_count,
        "memoryMB": sandbox.resources.memory_mb,
        "diskSizeMB": sandbox.resources.disk_mb,
        "metadata": dict(sandbox.metadata),
        "state": sandbox.state,
        "envdVersion": ENVD_VERSION,
        "volumeMounts": [{"name": mount.name, "path": mount.path} for mount in sandbox.volume_mounts],
    }


def detail(sandbox: Sandbox, domain: str) -> Json:
    """`SandboxDetail`."""
    return {
        **listed(sandbox),
        **_token(sandbox),
        "domain": domain,
        "allowInternetAccess": sandbox.allow_internet,
        "network": {
            **_ingress(sandbox.ingress),
            **_egress(sandbox.egress, sandbox.allow_internet),
        },
        "lifecycle": {
            "onTimeout": sandbox.lifecycle.on_timeout,
            "autoResume": sandbox.lifecycle.auto_resume,
        },
        **_pause(sandbox),
    }


def _pause(sandbox: Sandbox) -> Json:
    """What is kept of a paused sandbox: its processes too, or its files only."""
    if sandbox.state is not State.PAUSED:
        return {}
    return {"pauseMode": "full" if sandbox.keeps_memory else "filesystem"}


def _token(sandbox: Sandbox) -> Json:
    return {"envdAccessToken": sandbox.access_token} if sandbox.access_token else {}


def _traffic_token(sandbox: Sandbox) -> Json:
    token = sandbox.ingress.traffic_token
    return {"trafficAccessToken": token} if token else {}


def _ingress(ingress: Ingress) -> Json:
    mask, ports = ingress.mask_host, list(ingress.https_ports)
    return {
        "allowPublicTraffic": ingress.traffic_token is None,
        **({"maskRequestHost": mask} if mask else {}),
        **({"httpsPorts": ports} if ports else {}),
    }


def _egress(egress: Egress, allow_internet: bool | None) -> Json:
    """As configured, without the proxy's password."""
    denied = list(egress.deny_out)
    if allow_internet is False and EVERYWHERE not in denied:
        denied.append(EVERYWHERE)
    servers = egress.dns_servers
    return {
        "allowOut": list(egress.allow_out),
        "denyOut": denied,
        **({} if servers is None else {"dnsServers": list(servers)}),
        **({"egressProxy": _socks(egress.proxy)} if egress.proxy else {}),
        **({"rules": _rules(egress)} if egress.rules else {}),
    }


def _socks(socks: Socks) -> Json:
    return {
        "address": socks.address,
        **({"username": socks.username} if socks.username else {}),
        **({"tls": _socks_tls(socks.tls)} if socks.tls else {}),
    }


def _socks_tls(tls: SocksTls) -> Json:
    return {"enabled": True, **({"serverName": tls.server_name} if tls.server_name else {})}


def _rules(egress: Egress) -> Json:
    return {host: [{"transform": {"headers": dict(headers)}}] for host, headers in egress.rules.items()}


def log_entry(line: LogLine) -> Json:
    """`SandboxLogEntry`. Text from a sandbox may hold what UTF-8 cannot."""
    return {
        "timestamp": instant(line.timestamp),
        "level": known_level(line.level),
        "message": printable(line.message),
        "fields": {printable(k): printable(v) for k, v in line.fields.items()},
    }


def log_lines(entries: Iterable[Json]) -> list[Json]:
    """`SandboxLog`: every entry once more, as a line of JSON."""
    return [
        {
            "timestamp": e["timestamp"],
            "line": json.dumps({**e["fields"], "level": e["level"], "message": e["message"]}),
        }
        for e in entries
    ]
