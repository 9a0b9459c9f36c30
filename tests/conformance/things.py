"""Things that are there, for generated requests to name: a request about nothing tells little."""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

Json = dict[str, Any]
Maker = Callable[[httpx.Client, str], str | None]
"""Called with a client and the admin token."""

LOOPBACK = "127.0.0.1:1/nobody/listens"
"""An image of a registry that refuses at once. No other is asked in tests."""


def admin_headers(path: str, token: str) -> dict[str, str]:
    """What a call needs that no team may make."""
    return {"X-Admin-Token": token} if token and path.startswith(("/nodes", "/admin")) else {}


def new_names(body: Json) -> Json:
    """A name that nothing has yet, for what a body names."""
    return {field: f"{body[field]}-{secrets.token_hex(6)}" for field in ("name", "alias") if field in body}


def _made(path: str, body: Json, name: str) -> Maker:
    """The id in the answer to a POST; None while berm does not offer the call."""

    def make(client: httpx.Client, _admin: str) -> str | None:
        response = client.post(path, json=body | new_names(body))
        return str(response.json()[name]) if response.is_success else None

    return make


def _listed(path: str, name: str) -> Maker:
    """The id of the first in a list."""

    def find(client: httpx.Client, admin: str) -> str | None:
        response = client.get(path, headers=admin_headers(path, admin))
        return str(response.json()[0][name]) if response.is_success and response.json() else None

    return find


def _sandbox(client: httpx.Client, admin: str) -> str | None:
    """Where generated requests have started as many as may run, there is room once theirs have ended."""
    make = _made("/sandboxes", {"templateID": "base", "timeout": 3600}, "sandboxID")
    if made := make(client, admin):
        return made
    for sandbox in client.get("/v2/sandboxes").json():
        client.delete(f"/sandboxes/{sandbox['sandboxID']}")
    return make(client, admin)


MAKERS: dict[str, Maker] = {
    "sandboxID": _sandbox,
    "templateID": _made("/v3/templates", {"name": "generated"}, "templateID"),
    "apiKeyID": _made("/api-keys", {"name": "generated"}, "id"),
    "accessTokenID": _made("/access-tokens", {"name": "generated"}, "id"),
    "volumeID": _made("/volumes", {"name": "generated"}, "volumeID"),
    "secretID": _made("/secrets", {"name": "generated", "value": "v"}, "secretID"),
    "teamID": _listed("/teams", "teamID"),
    "nodeID": _listed("/nodes", "id"),
}
"""How a thing is had that a parameter of a path names."""

FIXED = {"alias": "base", "hash": "0" * 64}

CHECKS = {
    "sandboxID": "/sandboxes",
    "templateID": "/templates",
    "volumeID": "/volumes",
    "secretID": "/secrets",
}
"""Where it is asked whether a thing is still there; others are made anew whenever they are used up."""

BODIES: dict[str, Any] = {
    "templateID": "base",
    "fromTemplate": "base",
    "target": "base:default",
    "name": "generated",
    "alias": "generated",
    "tags": ["generated"],
    "fromImage": LOOPBACK,
}
"""What a field of a body may be replaced with."""


OWN_BODIES: dict[str, Json] = {"/templates/tags": {"name": "base"}}
"""The same for calls of one path."""


@dataclass
class Things:
    """Makes what is named, once, and again when a request has ended it."""

    client: httpx.Client
    admin: str = ""
    """The admin token, if it may be used."""
    known: dict[str, str] = field(default_factory=dict)

    def path(self, parameters: Json, wanted: bool) -> Json:
        """The parameters of a path; with names of real things if that is wanted."""
        return {name: (wanted and self._thing(name)) or value for name, value in parameters.items()}

    def target(self, path: str) -> str:
        """A path of the interface with the names of real things, or of nothing where there is none."""
        names = dict.fromkeys(re.findall(r"{(\w+)}", path), "none")
        return path.format(**{k: quote(v, safe="") for k, v in self.path(names, True).items()})

    def body(self, path: str, body: Any, wanted: bool) -> Any:
        """The body of a call of this path, which is as in the interface."""
        if not isinstance(body, dict):
            return body
        # A made-up image would be asked for at its registry, which is another's.
        real = BODIES | OWN_BODIES.get(path, {}) if wanted else {"fromImage": LOOPBACK}
        return body | {name: value for name, value in real.items() if name in body}

    def _thing(self, name: str) -> str | None:
        if name == "buildID":
            return self._build()
        if name in FIXED:
            return FIXED[name]
        if name not in MAKERS:
            return None
        known = self.known.get(name)
        if known is None or not self._there(name, known):
            self.known[name] = MAKERS[name](self.client, self.admin) or ""
        return self.known[name] or None

    def _there(self, name: str, known: str) -> bool:
        if name == "apiKeyID":
            return any(key["id"] == known for key in self.client.get("/api-keys").json())
        return name not in CHECKS or self.client.get(f"{CHECKS[name]}/{quote(known, safe='')}").is_success

    def _build(self) -> str | None:
        template = self._thing("templateID")
        response = self.client.get(f"/templates/{template}")
        builds = response.json()["builds"] if response.is_success else []
        return str(builds[0]["buildID"]) if builds else None
