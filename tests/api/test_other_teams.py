"""Every route there is, asked with the key of a team that has nothing for the things of another."""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import httpx
import pytest
from fastapi.openapi.utils import get_openapi

from berm.api import later
from berm.api.app import create_app
from berm.models import Credential
from berm.templates.plan import Base, Plan, Run, Settings, Stage, Step
from tests.conftest import Serve
from tests.fakes import FakeNode
from tests.serving import Served, add_team, make_template

pytestmark = pytest.mark.root

MARK = "of-the-first-team"

PLAN = asdict(
    Plan(
        (Stage("main", Base("template", MARK), (Step("step", name="1", action=Run(("true",))),)),), Settings()
    )
)

BODIES = {
    "/berm/plan": {"name": "mine", "plan": PLAN},
    "/berm/images": {"references": []},
    "/berm/templates/{reference}/builds/{build_id}": {"plan": PLAN},
    "/sandboxes": {"templateID": MARK},
    "/v2/sandboxes": {"templateID": MARK},
    "/sandboxes/{sandbox_id}/timeout": {"timeout": 9},
    "/sandboxes/{sandbox_id}/connect": {"timeout": 9},
    "/api-keys/{key_id}": {"name": "taken"},
    "/secrets/{reference}": {"value": "taken"},
    "/templates/tags": {"target": MARK, "tags": ["taken"], "name": MARK},
    "/berm/templates/{reference}/rollback": {"tag": "default", "to": 1},
}
"""What a route is sent so that it gets as far as looking for the thing; {} for all others."""

QUERIES = {
    "/teams/{team_id}/metrics/max": {"metric": "concurrent_sandboxes"},
    "/berm/templates/{reference}/diff": {"from": "1", "to": "1"},
}

OWN = {
    "/v2/templates",
    "/v3/templates",
    "/api-keys",
    "/access-tokens",
    "/secrets",
    "/berm/plan",
    "/berm/images",
}
"""What makes something for whoever asks, and names nothing of another team."""

OPEN = {
    "/health": "GET",
    "/docs/api/cli": "GET",
    "/.well-known/openid-configuration": "GET",
    "/.well-known/jwks.json": "GET",
    "/uploads/{files_hash}": "PUT",
}
"""What asks for no key: the last is opened by a signed link."""


class Things:
    """What the first team has: one of everything."""

    def __init__(self, served: Served) -> None:
        client = served.client
        template = served.call(make_template(served.control, served.team_id, MARK))
        served.call(served.control.templates.update(served.team_id, MARK, public=False))
        sandbox = client.post("/v2/sandboxes", json={"templateID": MARK, "metadata": {"a": MARK}}).json()
        secret = client.post("/secrets", json={"name": MARK, "value": MARK}).json()
        key = client.post("/api-keys", json={"name": MARK}).json()
        token = client.post("/access-tokens", json={"name": MARK}).json()
        volume = client.post("/volumes", json={"name": MARK}).json()
        self.parameters = {
            "sandbox_id": sandbox["sandboxID"],
            "build_id": template.build_id,
            "which": template.build_id,
            "key_id": key["id"],
            "token_id": token["id"],
            "team_id": served.team_id,
            "alias": MARK,
            "files_hash": "0" * 64,
            "node_id": "local",
            "volume_id": volume["volumeID"],
        }
        self.secret_id, self.template_id = secret["secretID"], template.template_id
        self.marks = {
            MARK,
            served.team_id,
            served.key,
            key["key"],
            token["token"],
            volume["token"],
            *self.parameters.values(),
        }
        self.marks |= {self.secret_id, self.template_id}
        self.marks -= {"0" * 64, "local"}

    def filled(self, path: str) -> Iterator[str]:
        """The path with the first team's things in it; by id and by name where either will do."""
        unknown = set(re.findall(r"{(\w+)}", path)) - {*self.parameters, "reference"}
        assert not unknown, f"teach Things what {unknown} of {path} is"
        named = self.secret_id if path.startswith("/secrets") else self.template_id
        for reference in (named, MARK) if "{reference}" in path else ("",):
            yield path.format(**self.parameters, reference=reference)


def state(client: httpx.Client, things: Things) -> list[object]:
    """All that a stranger could have changed."""
    paths = (
        "/v2/sandboxes",
        "/v2/templates",
        "/secrets",
        "/volumes",
        f"/berm/templates/{MARK}/builds",
        f"/templates/{MARK}/tags",
    )
    found = [client.get(path).json() for path in paths]
    keys = [{**key, "lastUsed": None} for key in client.get("/api-keys").json()]
    return [*found, keys, things.parameters]


def routes(served: Served) -> list[tuple[str, str]]:
    app = create_app(served.control, served.control.config)
    paths = get_openapi(title="", version="", routes=app.routes)["paths"]
    offered = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    refused = {(method, path) for method, path, _ in later.CALLS}
    found = sorted((method, path) for method, path in offered - refused if OPEN.get(path) != method)
    assert len(found) > 40
    return found


@pytest.fixture
def served(serve: Serve, tmp_path: Path) -> Served:
    return serve(FakeNode(tmp_path))


@pytest.fixture
def things(served: Served) -> Things:
    return Things(served)


def test_no_route_shows_or_changes_what_another_team_has(served: Served, things: Things) -> None:
    before = state(served.client, things)
    with served.connect(served.other_team_key()) as stranger:
        for method, path in routes(served):
            for target in things.filled(path):
                sent = {
                    "params": QUERIES.get(path),
                    "json": BODIES.get(path, {}) if method != "GET" else None,
                }
                response = stranger.request(method, target, **sent)  # type: ignore[arg-type]
                _check(response, method, path, things)
    assert state(served.client, things) == before


def _check(response: httpx.Response, method: str, path: str, things: Things) -> None:
    what = f"{method} {path}: {response.status_code} {response.text}"
    if "{" in path:
        assert response.status_code in (401, 403, 404), what
        return
    assert response.status_code < 500, what
    assert path in OWN or method == "GET" or response.status_code >= 400, what
    if response.is_success:
        shown = {mark for mark in things.marks if mark in response.text}
        assert not shown, f"{what} shows {shown}"


def test_a_token_of_another_team_does_no_more_than_its_key(served: Served, things: Things) -> None:
    team = served.call(add_team(served.control))
    made = served.call(served.control.keys.create(team.team_id, "token", Credential.ACCESS_TOKEN))
    with served.connect("") as stranger:
        headers = {"Authorization": f"Bearer {made.secret}", "X-Team-ID": served.team_id}
        for method, path in routes(served):
            for target in things.filled(path):
                body = BODIES.get(path, {}) if method != "GET" else None
                response = stranger.request(method, target, headers=headers, json=body)
                assert not response.is_success or MARK not in response.text, f"{method} {path}"
                assert "{" not in path or not response.is_success, f"{method} {path}"


@pytest.mark.parametrize(
    "headers", [{}, {"X-API-Key": "e2b_00"}, {"X-Team-ID": "{team}"}, {"X-Admin-Token": "0" * 64}]
)
def test_without_a_key_every_route_is_closed(served: Served, things: Things, headers: dict[str, str]) -> None:
    sent = {name: value.format(team=served.team_id) for name, value in headers.items()}
    with httpx.Client(base_url=served.url, verify=False) as nobody:  # noqa: S501 - plain HTTP
        for method, path in routes(served):
            target = next(things.filled(path))
            response = nobody.request(method, target, headers=sent, content=json.dumps({"name": "x"}))
            assert response.status_code == 401, f"{method} {path}: {response.status_code}"
