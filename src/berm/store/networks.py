"""What live sandboxes may reach outside, kept in their records."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from berm.models import Egress, IdentityToken, Socks, SocksTls
from berm.store.schema import sandboxes as table

_NO_SERVERS = ("dns_servers", ())


def put(connection: Connection, sandbox_id: str, egress: Egress, allow_internet: bool | None) -> bool:
    """Record what a sandbox may reach from now on; False if it has ended."""
    where = (table.c.sandbox_id == sandbox_id) & table.c.ended_at.is_(None)
    values = {"network": to_json(egress), "allow_internet": allow_internet}
    return connection.execute(update(table).where(where).values(values)).rowcount == 1


def egresses(connection: Connection, now: datetime) -> dict[str, tuple[str, Egress, bool | None]]:
    """By id, of every live sandbox of which something is said: its team, that, whether it has internet."""
    where = table.c.ended_at.is_(None) & (table.c.end_at > now)
    columns = (table.c.sandbox_id, table.c.team_id, table.c.network, table.c.allow_internet)
    rows = connection.execute(select(*columns).where(where))
    return {
        row.sandbox_id: (row.team_id, from_json(row.network), row.allow_internet)
        for row in rows
        if row.network
    }


def to_json(egress: Egress) -> dict[str, Any]:
    """Without what was left out; no name server is another thing than no word about them."""
    fields = asdict(replace(egress, secret=None, identity=None, team_id="")).items()
    return {name: value for name, value in fields if value or (name, value) == _NO_SERVERS}


def from_json(record: Mapping[str, Any]) -> Egress:
    socks = record.get("proxy")
    dns = record.get("dns_servers")
    return Egress(
        allow_out=tuple(record.get("allow_out", ())),
        deny_out=tuple(record.get("deny_out", ())),
        dns_servers=None if dns is None else tuple(dns),
        proxy=_socks(socks) if socks else None,
        rules=record.get("rules", {}),
        tokens={name: IdentityToken(**token) for name, token in record.get("tokens", {}).items()},
    )


def _socks(record: Mapping[str, Any]) -> Socks:
    tls = record.get("tls")
    return Socks(**{**record, "tls": SocksTls(**tls) if tls else None})
