import pytest

from berm.store.builds import Cause, StepRecord
from berm.templates.plan import Health, Settings
from tests.api.checks import check_error
from tests.api.test_builds import request
from tests.serving import Served

STEPS = (
    StepRecord("1", "RUN one", 3, cached=True, duration_ms=40, size=5, key="k1"),
    StepRecord("2", "ENV A=b", 4),
)
SETTINGS = Settings(env={"A": "b"}, user="user", health=Health(("true",)), start_cmd="serve")


def finish(served: Served, name: str, **fields: object) -> str:
    """A build that succeeded; returns its id."""
    made = request(served, name, **fields)
    templates = served.control.templates
    build = served.call(templates.own_build(served.team_id, name, made["buildID"]))
    served.call(templates.start(build.build_id))
    served.call(templates.finish(build, ["l1", "l2"], SETTINGS, steps=STEPS, digest="d1", size=7))
    return build.build_id


def fail(served: Served, name: str) -> str:
    made = request(served, name)
    work = served.control.templates.fail(made["buildID"], "it broke", "2", Cause.STEP_FAILED)
    served.call(work)
    return str(made["buildID"])


def test_builds_are_listed_newest_first_in_pages(served: Served) -> None:
    first = finish(served, "web", tags=["v1.0.0", "default"], commit="abc", actor="someone")
    second = fail(served, "web")
    page = served.client.get("/berm/templates/web/builds", params={"limit": 1})
    token = page.headers["x-next-token"]
    rest = served.client.get("/berm/templates/web/builds", params={"nextToken": token})
    assert "x-next-token" not in rest.headers
    (failed,), (ready,) = page.json(), rest.json()
    assert (failed["buildID"], failed["number"], failed["status"]) == (second, 2, "error")
    assert (failed["reason"], failed["reasonStep"], failed["cause"], failed["tags"]) == (
        "it broke",
        "2",
        "step_failed",
        [],
    )
    expected = {
        "buildID": first,
        "number": 1,
        "status": "ready",
        "tags": ["default", "v1.0.0"],
        "commit": "abc",
        "actor": "someone",
        "digest": "d1",
        "cachedSteps": 1,
        "steps": 2,
        "sizeBytes": 7,
        "reason": None,
        "cause": None,
        "cpuCount": 2,
    }
    assert {field: ready[field] for field in expected} == expected
    assert ready["durationMs"] >= 0
    assert ready["createdAt"] <= ready["finishedAt"]


@pytest.mark.parametrize("which", ["1", "default", "id"])
def test_a_build_is_found_by_number_tag_and_id(served: Served, which: str) -> None:
    build_id = finish(served, "web")
    path = f"/berm/templates/web/builds/{build_id if which == 'id' else which}"
    found = served.client.get(path).json()
    assert (found["buildID"], found["layers"]) == (build_id, ["l1", "l2"])
    assert found["steps"] == [
        {
            "name": "1",
            "text": "RUN one",
            "line": 3,
            "cached": True,
            "state": "done",
            "durationMs": 40,
            "sizeBytes": 5,
            "key": "k1",
        },
        {
            "name": "2",
            "text": "ENV A=b",
            "line": 4,
            "cached": False,
            "state": "done",
            "durationMs": 0,
            "sizeBytes": 0,
            "key": "",
        },
    ]
    settings = found["settings"]
    assert (settings["env"], settings["user"], settings["startCmd"]) == ({"A": "b"}, "user", "serve")
    assert settings["health"]["argv"] == ["true"]


def test_figures_of_one_and_of_all(served: Served) -> None:
    assert served.client.get("/berm/templates/base/stats").json()["builds"] == 1
    finish(served, "web")
    fail(served, "web")
    found = served.client.get("/berm/templates/web/stats").json()
    assert (found["builds"], found["succeeded"], found["failed"]) == (2, 1, 1)
    assert (found["successRate"], found["cacheHitRate"], found["causes"]) == (0.5, 1.0, {"step_failed": 1})
    assert found["lastNumber"] == 1
    assert found["lastDeployed"].endswith("Z")
    together = served.client.get("/berm/stats").json()
    assert (together["builds"], together["succeeded"], together["lastNumber"]) == (3, 2, None)
    with served.connect(served.other_team_key()) as stranger:
        nothing = stranger.get("/berm/stats").json()
    assert (nothing["builds"], nothing["successRate"], nothing["lastDeployed"]) == (0, None, None)


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/berm/templates/none/builds", 404, "template 'none' not found"),
        ("/berm/templates/none/builds/1", 404, "template 'none' not found"),
        ("/berm/templates/base/builds/9", 404, "has no build '9'"),
        ("/berm/templates/base:default/builds", 400, "is a tag or a build, not a template"),
        ("/berm/templates/none/stats", 404, "template 'none' not found"),
        ("/berm/templates/base/diff", 400, "from is missing"),
        ("/berm/templates/base/diff?from=1", 400, "to is missing"),
        ("/berm/templates/base/diff?from=1&to=9", 404, "has no build '9'"),
        ("/berm/templates/base/export?tag=none", 404, "has no build 'none'"),
        ("/berm/templates/none/export", 404, "template 'none' not found"),
    ],
)
def test_what_is_not_there(untouched: Served, path: str, status: int, message: str) -> None:
    check_error(untouched.client.get(path), status, message)


def test_what_others_built_is_not_seen(served: Served) -> None:
    finish(served, "web")
    with served.connect(served.other_team_key()) as stranger:
        for path in ("builds", "builds/1", "stats", "diff?from=1&to=1", "export"):
            check_error(stranger.get(f"/berm/templates/web/{path}"), 404, "template 'web' not found")


def test_prometheus_needs_a_key(served: Served) -> None:
    served.client.headers.pop("X-API-Key")
    check_error(served.client.get("/metrics"), 401, "no API key")
    response = served.client.get("/metrics", headers={"Authorization": f"Bearer {served.key}"})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "\nberm_" in response.text
