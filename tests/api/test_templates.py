import uuid

import pytest

from tests.api.checks import check_error
from tests.serving import Served, make_template


def test_a_template_is_listed_with_its_build(served: Served) -> None:
    served.client.post("/v2/sandboxes", json={"templateID": "base"})
    (listed,) = served.client.get("/templates").json()
    assert served.client.get("/v2/templates").json() == [listed]
    assert (listed["templateID"], listed["buildID"]) == (served.base.template_id, served.base.build_id)
    assert (listed["names"], listed["aliases"], listed["public"]) == (["base"], ["base"], True)
    assert (listed["buildStatus"], listed["buildCount"], listed["spawnCount"]) == ("ready", 1, 1)
    assert listed["lastSpawnedAt"] is not None
    detail = served.client.get("/templates/base").json()
    (build,) = detail.pop("builds")
    assert detail == listed
    assert (build["buildID"], build["status"]) == (served.base.build_id, "ready")


def test_templates_are_paged(served: Served) -> None:
    for name in ("one", "two"):
        served.call(make_template(served.control, served.team_id, name))
    first = served.client.get("/v2/templates", params={"limit": 2})
    token = first.headers["x-next-token"]
    last = served.client.get("/v2/templates", params={"limit": 2, "nextToken": token})
    assert "x-next-token" not in last.headers
    assert [t["names"] for t in first.json() + last.json()] == [["two"], ["one"], ["base"]]


def test_builds_are_paged(served: Served) -> None:
    build = served.call(served.control.templates.begin(served.team_id, "base"))
    first = served.client.get("/templates/base", params={"limit": 1})
    assert [b["buildID"] for b in first.json()["builds"]] == [build.build_id]
    token = first.headers["x-next-token"]
    last = served.client.get("/templates/base", params={"limit": 1, "nextToken": token})
    assert [b["buildID"] for b in last.json()["builds"]] == [served.base.build_id]


def test_an_alias_is_found_refused_or_unknown(served: Served) -> None:
    served.call(served.control.templates.begin(served.team_id, "private"))
    found = served.client.get("/templates/aliases/base").json()
    assert found == {"templateID": served.base.template_id, "public": True}
    check_error(served.client.get("/templates/aliases/none"), 404, "template 'none' not found")
    with served.connect(served.other_team_key()) as stranger:
        check_error(stranger.get("/templates/aliases/private"), 403, "belongs to another team")
        check_error(stranger.get("/templates/private"), 404, "not found")
        assert [t["names"] for t in stranger.get("/templates").json()] == [["base"]]


@pytest.mark.parametrize("encoded", ["ours%2Fbase", "ours%2fbase%3Adefault"])
def test_a_name_with_a_slash_is_one_segment(served: Served, encoded: str) -> None:
    made = served.call(make_template(served.control, served.team_id, "ours/base"))
    response = served.client.get(f"/templates/{encoded}")
    assert response.json()["templateID"] == made.template_id
    check_error(served.client.get("/templates/ours/base"), 404, "not a call")


def test_a_build_is_followed_to_its_end(served: Served) -> None:
    templates = served.control.templates
    build = served.call(templates.begin(served.team_id, "new"))
    path = f"/templates/{build.template_id}/builds/{build.build_id}/status"
    assert served.client.get(path).json()["status"] == "waiting"
    served.call(templates.start(build.build_id))
    served.call(templates.log(build.build_id, *(f"line {n}" for n in range(150)), step="1"))
    seen: list[str] = []
    while True:
        answer = served.client.get(path, params={"logsOffset": len(seen)}).json()
        assert answer["status"] == "building"
        assert answer["logs"] == [entry["message"] for entry in answer["logEntries"]]
        assert len(answer["logEntries"]) <= 100
        if not answer["logEntries"]:
            break
        assert answer["logEntries"][0]["step"] == "1"
        seen += answer["logs"]
    assert seen == [f"line {n}" for n in range(150)]
    served.call(templates.finish(build, ["layer"]))
    assert served.client.get(path, params={"logsOffset": 150}).json()["status"] == "ready"


def test_a_failed_build_gives_its_reason(served: Served) -> None:
    build = served.call(served.control.templates.begin(served.team_id, "new"))
    served.call(served.control.templates.fail(build.build_id, "no such image", "base"))
    answer = served.client.get(f"/templates/new/builds/{build.build_id}/status").json()
    assert (answer["status"], answer["reason"]["message"], answer["reason"]["step"]) == (
        "error",
        "no such image",
        "base",
    )
    uuid.UUID(answer["buildID"])
    response = served.client.post("/v2/sandboxes", json={"templateID": "new"})
    check_error(response, 409, "template 'new' could not be made: no such image")


def test_unknown_templates_and_builds_are_not_found(served: Served) -> None:
    check_error(served.client.get("/templates/none"), 404, "template 'none' not found")
    check_error(served.client.get("/templates/base/builds/none/status"), 404, "has no build 'none'")
    check_error(served.client.get("/templates/%00"), 400, "is not a name")
    path = f"/templates/base/builds/{served.base.build_id}/status"
    check_error(served.client.get(path, params={"logsOffset": -1}), 400, "logsOffset is '-1'")
    check_error(served.client.get(path, params={"limit": 101}), 400, "limit is '101'")
    check_error(served.client.get(path, params={"level": "loud"}), 400, "level is 'loud'")


def test_a_template_is_published_and_taken_back(served: Served) -> None:
    served.call(make_template(served.control, served.team_id, "web"))
    for public in (False, True):
        response = served.client.patch("/v2/templates/web", json={"public": public})
        assert (response.status_code, response.json()) == (200, {"names": ["web"]})
        assert served.client.get("/templates/web").json()["public"] is public
    assert served.client.patch("/templates/web", json={"public": False}).status_code == 200
    assert served.client.get("/templates/web").json()["public"] is False
    assert served.client.patch("/v2/templates/web", json={}).json() == {"names": ["web"]}
    assert served.client.get("/templates/web").json()["public"] is False
    check_error(served.client.patch("/v2/templates/none", json={"public": True}), 404, "not found")
    check_error(served.client.patch("/v2/templates/web", json={"public": 1}), 400, "public is 1")
    with served.connect(served.other_team_key()) as stranger:
        check_error(stranger.patch("/v2/templates/base", json={"public": False}), 403, "another team")


def test_a_template_is_deleted_once(served: Served) -> None:
    made = served.call(make_template(served.control, served.team_id, "web"))
    with served.connect(served.other_team_key()) as stranger:
        check_error(stranger.delete("/templates/web"), 403, "belongs to another team")
    response = served.client.delete(f"/templates/{made.template_id}")
    assert (response.status_code, response.content) == (204, b"")
    check_error(served.client.delete(f"/templates/{made.template_id}"), 404, "not found")
    check_error(served.client.get("/templates/aliases/web"), 404, "not found")
    check_error(served.client.post("/v2/sandboxes", json={"templateID": "web"}), 404, "not found")
