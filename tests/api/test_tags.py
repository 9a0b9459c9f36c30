import uuid

import pytest

from tests.api.checks import check_error
from tests.serving import Served, make_template


def tagged(served: Served, name: str) -> dict[str, str]:
    return {tag["tag"]: tag["buildID"] for tag in served.client.get(f"/templates/{name}/tags").json()}


def rolled_back(served: Served, name: str, **body: object) -> object:
    return served.client.post(f"/berm/templates/{name}/rollback", json=body).json()


def test_tags_are_given_listed_and_taken_away(served: Served) -> None:
    build_id = served.base.build_id
    body = {"target": "base:default", "tags": ["stable", "v1.0.0"]}
    response = served.client.post("/templates/tags", json=body)
    assert response.status_code == 201
    assert response.json() == {"tags": ["stable", "v1.0.0"], "buildID": build_id, "number": 1}
    assert tagged(served, "base") == {"default": build_id, "stable": build_id, "v1.0.0": build_id}
    (first, *_) = served.client.get(f"/templates/{served.base.template_id}/tags").json()
    assert set(first) == {"tag", "buildID", "createdAt", "number"}
    uuid.UUID(first["buildID"])
    gone = served.client.request("DELETE", "/templates/tags", json={"name": "base", "tags": ["stable"]})
    assert (gone.status_code, gone.content) == (204, b"")
    assert set(tagged(served, "base")) == {"default", "v1.0.0"}


def test_a_tag_moves_back(served: Served) -> None:
    ids = [served.call(make_template(served.control, served.team_id, "web")).build_id for _ in range(3)]
    assert tagged(served, "web") == {"default": ids[2]}
    assert rolled_back(served, "web") == {"tags": ["default"], "from": 3, "to": 2}
    assert rolled_back(served, "web", to=1) == {"tags": ["default"], "from": 2, "to": 1}
    served.client.post("/templates/tags", json={"target": "web@3", "tags": ["stable"]})
    assert rolled_back(served, "web", tag="stable", to=2) == {"tags": ["stable"], "from": 3, "to": 2}
    assert tagged(served, "web") == {"default": ids[0], "stable": ids[1]}
    response = served.client.post("/berm/templates/web/rollback", json={"to": 9})
    check_error(response, 404, "template 'web' has no build")


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"tags": ["x"]}, 400, "target is missing"),
        ({"target": "base"}, 400, "tags is missing"),
        ({"target": "base", "tags": []}, 400, "no tag is given"),
        ({"target": "base", "tags": "x"}, 400, "tags is 'x'"),
        ({"target": "base", "tags": ["X"]}, 400, "'X' is not a tag"),
        ({"target": "base", "tags": ["x"] * 101}, 400, "tags is ['x'"),
        ({"target": ":x", "tags": ["x"]}, 400, "template ':x' is not a name"),
        ({"target": "base:", "tags": ["x"]}, 400, "template 'base:' is not a name"),
        ({"target": "base:none", "tags": ["x"]}, 404, "has no tag 'none'"),
        ({"target": "none", "tags": ["x"]}, 404, "template 'none' not found"),
    ],
)
def test_what_cannot_be_assigned(
    untouched: Served, body: dict[str, object], status: int, message: str
) -> None:
    check_error(untouched.client.post("/templates/tags", json=body), status, message)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"name": "none", "tags": ["x"]}, 404, "template 'none' not found"),
        ({"name": "base", "tags": ["x"]}, 404, "template 'base' has no tag 'x'"),
        ({"name": "base"}, 400, "tags is missing"),
    ],
)
def test_what_cannot_be_removed(
    untouched: Served, body: dict[str, object], status: int, message: str
) -> None:
    check_error(untouched.client.request("DELETE", "/templates/tags", json=body), status, message)


def test_tags_of_another_team_stay(served: Served) -> None:
    with served.connect(served.other_team_key()) as stranger:
        body: dict[str, object] = {"target": "base", "tags": ["mine"]}
        check_error(stranger.post("/templates/tags", json=body), 403, "belongs to another team")
        body = {"name": "base", "tags": ["default"]}
        check_error(stranger.request("DELETE", "/templates/tags", json=body), 403, "belongs to another team")
        check_error(stranger.post("/berm/templates/base/rollback", json={}), 403, "belongs to another team")
    assert set(tagged(served, "base")) == {"default"}
