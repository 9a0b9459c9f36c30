from tests.api.checks import check_error
from tests.serving import Served


def test_a_new_key_works_and_is_shown_once(served: Served) -> None:
    response = served.client.post("/api-keys", json={"name": "ci"})
    assert response.status_code == 201
    made = response.json()
    with served.connect(made["key"]) as client:
        assert client.get("/v2/sandboxes").status_code == 200
    listed = {key["id"]: key for key in served.client.get("/api-keys").json()}
    assert made["key"] not in str(listed)
    shown = listed[made["id"]]
    assert shown["name"] == "ci"
    assert shown["lastUsed"] is not None
    assert shown["mask"] == {
        "prefix": "e2b_",
        "valueLength": 40,
        "maskedValuePrefix": made["key"][4:6],
        "maskedValueSuffix": made["key"][-4:],
    }


def test_a_key_can_be_renamed(served: Served) -> None:
    (key,) = served.client.get("/api-keys").json()
    assert served.client.patch(f"/api-keys/{key['id']}", json={"name": "new"}).status_code == 200
    (renamed,) = served.client.get("/api-keys").json()
    assert renamed["name"] == "new"


def test_a_revoked_key_is_refused(served: Served) -> None:
    made = served.client.post("/api-keys", json={"name": "ci"}).json()
    with served.connect(made["key"]) as client:
        assert client.delete(f"/api-keys/{made['id']}").status_code == 204
        check_error(client.get("/sandboxes"), 401, "not known")


def test_unknown_keys_and_wrong_names(served: Served) -> None:
    check_error(served.client.delete("/api-keys/none"), 404, "API key 'none' not found")
    check_error(served.client.patch("/api-keys/none", json={"name": "x"}), 404, "not found")
    check_error(served.client.post("/api-keys", json={}), 400, "name is missing")
    check_error(served.client.post("/api-keys", json={"name": ""}), 400, "name is ''")
    check_error(served.client.post("/api-keys", json={"name": "x" * 129}), 400, "name is")
