import httpx
import pytest

from tests.api.checks import check_error
from tests.serving import Served

ADMIN = (
    ("GET", "/admin/sandboxes/running-counts"),
    ("POST", "/admin/teams/{team}/sandboxes/kill"),
    ("POST", "/admin/teams/{team}/builds/cancel"),
    ("POST", "/admin/teams/{team}/api-keys"),
    ("DELETE", "/admin/teams/{team}/api-keys/none"),
)


@pytest.fixture
def token(served: Served) -> str:
    return served.control.config.admin_token_file.read_text().strip()


def admin(served: Served, token: str) -> httpx.Client:
    client = served.connect("")
    client.headers.pop("X-API-Key")
    client.headers["X-Admin-Token"] = token
    return client


def start(client: httpx.Client) -> str:
    sandbox_id: str = client.post("/v2/sandboxes", json={"templateID": "base"}).json()["sandboxID"]
    return sandbox_id


@pytest.mark.parametrize(("method", "path"), ADMIN)
def test_only_the_admin_token_opens_an_admin_call(served: Served, token: str, method: str, path: str) -> None:
    path = path.format(team=served.team_id)
    body = {"name": "x"} if path.endswith("api-keys") else None
    for headers, said in (
        ({}, "carries no admin token"),
        ({"X-Admin-Token": ""}, "carries no admin token"),
        ({"X-Admin-Token": served.key}, "the admin token is wrong"),
        ({"X-Admin-Token": token[:-1]}, "the admin token is wrong"),
        ({"Authorization": f"Bearer {token}"}, "carries no admin token"),
        ({"X-API-Key": token}, "carries no admin token"),
    ):
        response = served.client.request(method, path, headers=headers, json=body)
        check_error(response, 401, said)
    check_error(served.client.get("/teams", headers={"X-API-Key": token}), 401, "not known")


def test_sandboxes_are_counted_and_killed_by_team(served: Served, token: str) -> None:
    with served.connect(served.other_team_key()) as other, admin(served, token) as client:
        sandboxes = [start(served.client) for _ in range(3)]
        kept = start(other)
        counts = client.get("/admin/sandboxes/running-counts").json()
        assert counts[served.team_id] == 3
        assert sorted(counts.values()) == [1, 3]
        killed = client.post(f"/admin/teams/{served.team_id}/sandboxes/kill")
        assert (killed.status_code, killed.json()) == (200, {"killedCount": 3, "failedCount": 0})
        check_error(served.client.get(f"/sandboxes/{sandboxes[0]}"), 404, "not found")
        assert other.get(f"/sandboxes/{kept}").status_code == 200
        assert served.team_id not in client.get("/admin/sandboxes/running-counts").json()


def test_builds_are_cancelled_by_team(served: Served, token: str) -> None:
    made = served.client.post("/v3/templates", json={"name": "slow"}).json()
    with admin(served, token) as client:
        done = client.post(f"/admin/teams/{served.team_id}/builds/cancel")
        assert (done.status_code, done.json()) == (200, {"cancelledCount": 1, "failedCount": 0})
    status = served.client.get(f"/templates/{made['templateID']}/builds/{made['buildID']}/status").json()
    assert status["status"] == "error"


def test_keys_are_made_and_revoked_for_a_team(served: Served, token: str) -> None:
    path = f"/admin/teams/{served.team_id}/api-keys"
    with admin(served, token) as client:
        response = client.post(path, json={"name": "given"})
        made = response.json()
        assert (response.status_code, made["name"]) == (201, "given")
        with served.connect(made["key"]) as holder:
            assert holder.get("/teams").json()[0]["teamID"] == served.team_id
            assert client.delete(f"{path}/{made['id']}").status_code == 204
            check_error(holder.get("/teams"), 401, "not known")
        check_error(client.delete(f"{path}/{made['id']}"), 404, "API key")
        check_error(client.post(path, json={"name": ""}), 400, "name is ''")


def test_a_key_is_not_revoked_through_another_team(served: Served, token: str) -> None:
    key_id = served.client.get("/api-keys").json()[0]["id"]
    with served.connect(served.other_team_key()) as other, admin(served, token) as client:
        other_team = other.get("/teams").json()[0]["teamID"]
        check_error(client.delete(f"/admin/teams/{other_team}/api-keys/{key_id}"), 404, "not found")
    assert served.client.get("/teams").status_code == 200


def test_unknown_teams_are_not_found(served: Served, token: str) -> None:
    with admin(served, token) as client:
        for method, path in ADMIN[1:]:
            body = {"name": "x"} if path.endswith("api-keys") else None
            response = client.request(method, path.format(team="none"), json=body)
            check_error(response, 404, "team 'none' not found")
        check_error(client.get("/sandboxes", headers={"X-Team-ID": "none"}), 404, "team 'none' not found")


def test_the_admin_acts_for_a_team_by_its_id(served: Served, token: str) -> None:
    sandbox_id = start(served.client)
    with served.connect(served.other_team_key()) as other, admin(served, token) as client:
        other_team = other.get("/teams").json()[0]["teamID"]
        path = f"/sandboxes/{sandbox_id}"
        assert client.get(path, headers={"X-Team-ID": served.team_id}).status_code == 200
        check_error(client.get(path, headers={"X-Team-ID": other_team}), 404, "not found")
        check_error(client.get(path), 400, "X-Team-ID is missing")
        check_error(client.get(path, headers={"X-Team-ID": ""}), 400, "X-Team-ID is missing")
        assert client.delete(path, headers={"X-Team-ID": served.team_id}).status_code == 204


def test_a_wrong_admin_token_is_not_made_good_by_a_key(served: Served) -> None:
    for token in ("", "wrong"):
        check_error(served.client.get("/sandboxes", headers={"X-Admin-Token": token}), 401, "admin token")


def test_a_team_id_beside_a_key_changes_nothing(served: Served) -> None:
    sandbox_id = start(served.client)
    with served.connect(served.other_team_key()) as other:
        headers = {"X-Team-ID": served.team_id}
        check_error(other.get(f"/sandboxes/{sandbox_id}", headers=headers), 404, "not found")
        assert other.get("/v2/sandboxes", headers=headers).json() == []
