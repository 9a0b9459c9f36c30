import pytest

from tests.api.checks import check_error
from tests.serving import Served

TAKEN = (
    ("GET", "/teams"),
    ("GET", "/templates"),
    ("GET", "/v2/templates"),
    ("GET", "/templates/base/files/" + "0" * 64),
    ("GET", "/templates/{template}/builds/{build}/status"),
    ("GET", "/templates/{template}/builds/{build}/logs"),
    ("PATCH", "/templates/base"),
    ("PATCH", "/v2/templates/base"),
    ("DELETE", "/templates/base"),
)
"""The calls whose description names AccessTokenAuth."""

NOT_TAKEN = (
    ("GET", "/sandboxes"),
    ("POST", "/v2/sandboxes"),
    ("GET", "/templates/base"),
    ("POST", "/v3/templates"),
    ("GET", "/api-keys"),
    ("POST", "/api-keys"),
    ("POST", "/access-tokens"),
    ("GET", "/secrets"),
    ("GET", "/metrics"),
)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def make(served: Served) -> tuple[str, str]:
    """The id of a new token, and the token."""
    made = served.client.post("/access-tokens", json={"name": "ci"}).json()
    return made["id"], made["token"]


def test_a_new_token_is_shown_once_and_stored_as_a_digest(served: Served) -> None:
    response = served.client.post("/access-tokens", json={"name": "ci"})
    assert response.status_code == 201
    made = response.json()
    token = made["token"]
    assert set(made) == {"id", "name", "token", "mask", "createdAt"}
    assert made["name"] == "ci"
    assert made["mask"] == {
        "prefix": "sk_e2b_",
        "valueLength": 40,
        "maskedValuePrefix": token[7:9],
        "maskedValueSuffix": token[-4:],
    }
    home = served.control.config.home
    for name in ("berm.db", "berm.db-wal"):
        assert token.encode() not in (home / name).read_bytes()
    assert made["id"] not in [key["id"] for key in served.client.get("/api-keys").json()]


@pytest.mark.parametrize(("method", "path"), TAKEN)
def test_a_token_is_taken_where_the_api_says_so(served: Served, method: str, path: str) -> None:
    _, token = make(served)
    with served.connect("") as client:
        path = path.format(template=served.base.template_id, build=served.base.build_id)
        body = {"json": {"public": True}} if method == "PATCH" else {}
        response = client.request(method, path, headers=bearer(token), **body)  # type: ignore[arg-type]
        assert response.is_success, response.text


@pytest.mark.parametrize(("method", "path"), NOT_TAKEN)
def test_it_is_taken_nowhere_else(served: Served, method: str, path: str) -> None:
    _, token = make(served)
    with served.connect("") as client:
        response = client.request(method, path, headers=bearer(token), json={} if method == "POST" else None)
    check_error(response, 401, "takes an API key, and no access token")


def test_a_token_is_no_api_key(served: Served) -> None:
    _, token = make(served)
    with served.connect(token) as client:
        check_error(client.get("/templates"), 401, "X-API-Key holds an access token")


def test_a_revoked_token_is_refused_at_once(served: Served) -> None:
    token_id, token = make(served)
    with served.connect("") as client:
        assert client.get("/teams", headers=bearer(token)).status_code == 200
        assert served.client.delete(f"/access-tokens/{token_id}").status_code == 204
        check_error(client.get("/teams", headers=bearer(token)), 401, "not known")
    check_error(served.client.delete(f"/access-tokens/{token_id}"), 404, "access token")


def test_keys_and_tokens_are_not_mixed_up(served: Served) -> None:
    token_id, token = make(served)
    key_id = served.client.get("/api-keys").json()[0]["id"]
    check_error(served.client.delete(f"/access-tokens/{key_id}"), 404, "not found")
    check_error(served.client.delete(f"/api-keys/{token_id}"), 404, "not found")
    check_error(served.client.patch(f"/api-keys/{token_id}", json={"name": "x"}), 404, "not found")
    assert served.client.get("/teams", headers=bearer(token)).status_code == 200


def test_another_team_cannot_revoke_a_token(served: Served) -> None:
    token_id, token = make(served)
    with served.connect(served.other_team_key()) as other:
        check_error(other.delete(f"/access-tokens/{token_id}"), 404, "not found")
    with served.connect("") as client:
        (team,) = client.get("/teams", headers=bearer(token)).json()
    assert (team["teamID"], team["apiKey"]) == (served.team_id, "")


def test_a_login_of_the_hosted_service_is_refused_with_a_reason(untouched: Served) -> None:
    with untouched.connect("") as client:
        headers = {**bearer("eyJhbGciOi.eyJzdWIi.c2ln"), "X-Team-ID": untouched.team_id}
        check_error(client.get("/teams", headers=headers), 401, "no login in a browser")
        check_error(client.get("/sandboxes", headers=headers), 401, "send an API key as X-API-Key")
