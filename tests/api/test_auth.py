import pytest

from berm import ids
from tests.api.checks import check_error
from tests.serving import Served


def test_health_needs_no_key(untouched: Served) -> None:
    with untouched.connect("") as nobody:
        response = nobody.get("/health")
    assert (response.status_code, response.content) == (204, b"")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": "e2b_00"},
        {"X-API-Key": "\u00fc".encode().decode("latin-1")},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer e2b_00"},
        {"Authorization": "Basic e2b_00"},
    ],
)
def test_without_a_known_key_nothing_is_done(served: Served, headers: dict[str, str]) -> None:
    served.client.headers.pop("X-API-Key")
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    response = served.client.post("/v2/sandboxes", json={"templateID": "base"}, headers=encoded)
    check_error(response, 401, "API key")
    assert not served.node.specs


def test_a_key_may_come_as_a_bearer_token(served: Served) -> None:
    served.client.headers.pop("X-API-Key")
    response = served.client.get("/teams", headers={"Authorization": f"bearer {served.key}"})
    (team,) = response.json()
    assert (team["teamID"], team["apiKey"], team["isDefault"]) == (served.team_id, served.key, True)


def test_an_unknown_key_is_refused_before_the_body_is_looked_at(served: Served) -> None:
    with served.connect(ids.api_key()) as stranger:
        check_error(stranger.post("/v2/sandboxes", json={"templateID": 5}), 401, "not known")
