from collections.abc import Iterator

import httpx
import pytest

from tests.api.checks import check_error
from tests.serving import Served


@pytest.fixture
def admin(served: Served) -> Iterator[httpx.Client]:
    with served.connect("") as client:
        client.headers["X-Admin-Token"] = served.control.config.admin_token_file.read_text().strip()
        yield client


def start(client: httpx.Client, **fields: object) -> httpx.Response:
    return client.post("/v2/sandboxes", json={"templateID": "base", **fields})


def test_a_team_is_made_listed_and_limited(served: Served, admin: httpx.Client) -> None:
    response = admin.post("/berm/teams", json={"name": "guests/a", "maxSandboxes": 1})
    made = response.json()
    assert response.status_code == 201
    assert made["limits"] == {"maxSandboxes": 1, "creationRate": None, "maxTimeout": None}
    assert made["inForce"] == {"maxSandboxes": 1, "creationRate": 0, "maxTimeout": 86400}
    with served.connect(made["apiKey"]) as guest:
        assert guest.get("/teams").json()[0]["teamID"] == made["teamID"]
        assert start(guest).status_code == 201
        check_error(
            start(guest), 429, "1 sandboxes of the team run or are paused with memory, and its limit is 1"
        )
    assert [(team["name"], team["running"]) for team in admin.get("/berm/teams").json()] == [
        ("default", 0),
        ("guests/a", 1),
    ]
    changed = admin.patch("/berm/teams/guests%2Fa", json={"maxTimeout": 60}).json()
    assert changed["limits"] == {"maxSandboxes": 1, "creationRate": None, "maxTimeout": 60}
    changed = admin.patch(f"/berm/teams/{made['teamID']}", json={"maxSandboxes": None}).json()
    assert changed["limits"] == {"maxSandboxes": None, "creationRate": None, "maxTimeout": 60}
    with served.connect(made["apiKey"]) as guest:
        assert start(guest).status_code == 201
        check_error(start(guest, timeout=61), 400, "not between 0 and 60 seconds")


def test_a_rate_is_told_with_when_to_come_back(served: Served, admin: httpx.Client) -> None:
    admin.patch(f"/berm/teams/{served.team_id}", json={"creationRate": 1})
    answers = [start(served.client) for _ in range(5)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    check_error(refused[0], 429, "its limit is 1")
    assert (refused[0].headers["Retry-After"], refused[0].headers["Should-Retry"]) == ("1", "true")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"maxSandboxes": -1}, "maxSandboxes is -1"),
        ({"creationRate": 1.5}, "creationRate is 1.5"),
        ({"creationRate": "5"}, "creationRate is '5'"),
        ({"maxTimeout": 0}, "maxTimeout is 0"),
        ({"maxSandboxes": 10**9}, "maxSandboxes is"),
    ],
)
def test_limits_that_cannot_be(
    served: Served, admin: httpx.Client, body: dict[str, object], said: str
) -> None:
    check_error(admin.patch(f"/berm/teams/{served.team_id}", json=body), 400, said)
    check_error(admin.post("/berm/teams", json={"name": "x", **body}), 400, said)


def test_unknown_and_taken_names(admin: httpx.Client) -> None:
    check_error(admin.patch("/berm/teams/none", json={}), 404, "team 'none' not found")
    check_error(admin.post("/berm/teams", json={"name": "default"}), 409, "there is a team 'default' already")
    check_error(admin.post("/berm/teams", json={"name": ""}), 400, "name is ''")


def test_a_key_does_not_open_them(served: Served) -> None:
    for method, path in (("GET", ""), ("POST", ""), ("PATCH", f"/{served.team_id}")):
        response = served.client.request(method, f"/berm/teams{path}", json={"name": "x"})
        check_error(response, 401, "carries no admin token")
