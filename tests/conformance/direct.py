"""Every call of the interface made by hand, as not every client makes it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from tests.conformance.interface import Operation, read
from tests.conformance.things import Things, admin_headers, new_names

Json = dict[str, Any]
ORDER = ("POST", "PUT", "GET", "PATCH", "DELETE")
"""What makes things goes before what ends them; within a method it is the interface's order."""

BODIES: dict[str, Json | bytes] = {
    "POST /sandboxes": {"templateID": "base", "timeout": 60},
    "POST /v2/sandboxes": {"templateID": "base", "timeout": 60},
    "POST /sandboxes/{sandboxID}/pause": {},
    "POST /sandboxes/{sandboxID}/resume": {"timeout": 300},
    "POST /sandboxes/{sandboxID}/fork": {"count": 1, "timeout": 60},
    "POST /sandboxes/{sandboxID}/connect": {"timeout": 300},
    "POST /v2/sandboxes/{sandboxID}/connect": {"timeout": 300},
    "POST /sandboxes/{sandboxID}/timeout": {"timeout": 300},
    "POST /sandboxes/{sandboxID}/refreshes": {"duration": 60},
    "POST /sandboxes/{sandboxID}/snapshots": {},
    "PUT /sandboxes/{sandboxID}/network": {"denyOut": ["192.0.2.0/24"]},
    "POST /v3/templates": {"name": "direct"},
    "POST /v2/templates": {"alias": "direct"},
    "POST /templates": {"alias": "direct", "dockerfile": "FROM e2bdev/base"},
    "POST /templates/{templateID}": {"dockerfile": "FROM e2bdev/base"},
    "POST /v2/templates/{templateID}/builds/{buildID}": {"fromTemplate": "base", "steps": []},
    "PATCH /templates/{templateID}": {"public": False},
    "PATCH /v2/templates/{templateID}": {"public": False},
    "POST /templates/tags": {"target": "base:default", "tags": ["direct"]},
    "DELETE /templates/tags": {"name": "base", "tags": ["direct"]},
    "POST /nodes/{nodeID}": {"status": "ready"},
    "POST /admin/teams/{teamID}/api-keys": {"name": "direct"},
    "POST /access-tokens": {"name": "direct"},
    "POST /api-keys": {"name": "direct"},
    "PATCH /api-keys/{apiKeyID}": {"name": "direct"},
    "POST /volumes": {"name": "direct"},
    "POST /secrets": {"name": "direct", "value": "v"},
    "POST /secrets/{secretID}": {"value": "w"},
    "PATCH /volumecontent/{volumeID}/path": {"mode": 0o600},
    "PUT /volumecontent/{volumeID}/file": b"text",
    "POST /files": b"text",
    "POST /files/compose": {"source_paths": ["/tmp/direct"], "destination": "/tmp/composed"},
    "POST /init": {},
}

QUERIES: dict[str, Json] = {
    "GET /teams/{teamID}/metrics/max": {"metric": "concurrent_sandboxes"},
    "PATCH /volumecontent/{volumeID}/path": {"path": "/f"},
    "GET /volumecontent/{volumeID}/path": {"path": "/f"},
    "DELETE /volumecontent/{volumeID}/path": {"path": "/f"},
    "GET /volumecontent/{volumeID}/dir": {"path": "/"},
    "POST /volumecontent/{volumeID}/dir": {"path": "/d", "force": True},
    "GET /volumecontent/{volumeID}/file": {"path": "/f"},
    "PUT /volumecontent/{volumeID}/file": {"path": "/f"},
    "GET /files": {"path": "/etc/hostname"},
    "POST /files": {"path": "/tmp/direct"},
}


@dataclass
class Direct:
    """Calls a server with its key; `calls` gives each operation with the status of its answer."""

    client: httpx.Client
    things: Things

    def calls(self) -> Iterator[tuple[Operation, int]]:
        for operation in _in_order((*read("volumecontent").operations, *read("api").operations)):
            yield operation, self._call(operation, self._headers(operation.path)).status_code

    def agent_calls(self) -> Iterator[tuple[Operation, int]]:
        """Those of the agent that are no RPCs."""
        sandbox = self.client.post("/v2/sandboxes", json={"templateID": "base", "timeout": 120}).json()
        headers = {
            "E2b-Sandbox-Id": sandbox["sandboxID"],
            "E2b-Sandbox-Port": "49983",
            "X-Access-Token": sandbox["envdAccessToken"],
        }
        for operation in _in_order(read("agent").operations):
            if "." not in operation.path:
                yield operation, self._call(operation, headers).status_code
        self.client.delete(f"/sandboxes/{sandbox['sandboxID']}")

    def _call(self, operation: Operation, headers: dict[str, str]) -> httpx.Response:
        body = BODIES.get(operation.name)
        if isinstance(body, dict) and operation.method == "POST":
            body = body | new_names(body)
        content: Json = (
            {"content": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}
        )
        if isinstance(body, bytes):
            headers = {**headers, "content-type": "application/octet-stream"}
        return self.client.request(
            operation.method,
            self.things.target(operation.path),
            params=self._query(operation),
            headers=headers,
            **content,
        )

    def _headers(self, path: str) -> dict[str, str]:
        if path.startswith("/volumecontent/"):
            volume = self.client.get(self.things.target("/volumes/{volumeID}")).json()
            return {"Authorization": f"Bearer {volume.get('token')}"}
        return admin_headers(path, self.things.admin)

    def _query(self, operation: Operation) -> Json:
        if operation.name == "GET /sandboxes/metrics":
            return {"sandbox_ids": self.things.path({"sandboxID": ""}, True)["sandboxID"]}
        return QUERIES.get(operation.name, {})


def _in_order(operations: tuple[Operation, ...]) -> list[Operation]:
    return sorted(operations, key=lambda operation: ORDER.index(operation.method))
