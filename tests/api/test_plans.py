"""Our own calls about plans: strict, and over a node that does nothing."""

import asyncio
import base64
import json
from dataclasses import asdict
from typing import Any

import pytest

from berm.api.limits import MAX_BODY, MAX_PLAN
from berm.models import SandboxSpec
from berm.node.interface import Command
from berm.templates.plan import Base, Copy, Mount, Plan, Run, Settings, Stage, Step
from tests.api.checks import check_error
from tests.api.test_builds import end, request, status
from tests.conftest import Serve
from tests.fakes import FakeNode, Output
from tests.serving import Served

Json = dict[str, Any]
HASH = "0123456789abcdef" * 4


def plan(*actions: Run | Copy, **settings: Any) -> Json:
    steps = tuple(
        Step(f"step {number}", line=number, name=str(number), action=action)
        for number, action in enumerate(actions, 1)
    )
    made: Json = asdict(Plan((Stage("main", Base("template", "base"), steps),), Settings(**settings)))
    return made


def start(served: Served, made: Json, body: Json) -> Any:
    return served.client.post(f"/berm/templates/{made['templateID']}/builds/{made['buildID']}", json=body)


def preview(served: Served, body: Json) -> Any:
    return served.client.post("/berm/plan", json=body)


TWO = (Run(("sh", "-c", "one")), Copy(("a",), "/a", files_hash=HASH))


def test_a_plan_is_looked_at_and_changes_nothing(served: Served) -> None:
    body = {"name": "web", "plan": plan(*TWO), "tags": ["v1"], "cpuCount": 2}
    response = preview(served, body)
    assert response.status_code == 200, response.text
    found = response.json()
    assert [(s["name"], s["stage"], s["text"], s["line"], s["state"]) for s in found["steps"]] == [
        ("1", "main", "step 1", 1, "build"),
        ("2", "main", "step 2", 2, "build"),
        ("finalize", "main", "Add the account user", 0, "build"),
    ]
    assert all(step["reason"] for step in found["steps"])
    assert (found["files"], found["template"], found["tags"]) == ({HASH: False}, None, ["v1"])
    assert not served.node.specs
    check_error(served.client.get("/templates/web"), 404, "not found")


def test_a_version_that_is_taken_is_told_in_the_dry_run(served: Served) -> None:
    made = request(served, "web:v1.0.0")
    start(served, made, {"plan": plan(TWO[0])})
    assert end(served, made)["status"] == "ready"
    response = preview(served, {"name": "web", "plan": plan(TWO[0]), "tags": ["v1.0.0"]})
    check_error(response, 409, "tag 'v1.0.0' of template 'web' belongs to build 1")


def test_what_is_cached_is_told_with_how_long_it_took(served: Served) -> None:
    made = request(served, "web", commit="abc-dirty", actor="someone")
    assert start(served, made, {"plan": plan(*TWO)}).status_code == 202
    assert end(served, made)["status"] == "ready"
    found = preview(served, {"name": "web", "plan": plan(*TWO)}).json()
    assert [step["state"] for step in found["steps"]] == ["cached"] * 3
    assert found["template"] == {
        "templateID": made["templateID"],
        "number": 1,
        "buildID": made["buildID"],
    }
    assert set(found["steps"][0]["last"]) == {"durationMs", "sizeBytes", "finishedAt"}
    changed = preview(served, {"name": "web", "plan": plan(TWO[0], Run(("x",)))}).json()
    assert [step["state"] for step in changed["steps"]] == ["cached", "build", "build"]


def test_a_plan_is_built_with_its_settings(served: Served) -> None:
    made = request(served, "web")
    settings = {"env": {"A": "b"}, "user": "someone", "workdir": "/srv", "start_cmd": "serve"}
    assert start(served, made, {"plan": plan(TWO[0], **settings)}).status_code == 202
    assert end(served, made)["status"] == "ready"
    template = served.call(served.control.templates.resolve(served.team_id, "web"))
    assert (template.env, template.user, template.workdir, template.start_cmd) == (
        {"A": "b"},
        "someone",
        "/srv",
        "serve",
    )


async def prints_the_secret(_spec: SandboxSpec, command: Command, output: Output) -> int:
    output(f"it is {command.env.get('TOKEN')}")
    return 0


def test_a_secret_reaches_the_step_and_nothing_else(served: Served) -> None:
    served.node.program = prints_the_secret
    made = request(served, "web")
    secret = base64.b64encode(b"hunter2-hunter2").decode()
    run = Run(("use",), mounts=(Mount("secret", "", id="token", env="TOKEN"),))
    body = {"plan": plan(run), "secrets": {"token": secret}}
    assert start(served, made, body).status_code == 202
    found = end(served, made)
    assert found["status"] == "ready"
    assert served.node.commands[0][1].env["TOKEN"] == "hunter2-hunter2"
    assert any("it is ***" in entry["message"] for entry in found["logEntries"])
    history = served.client.get(f"/berm/templates/web/builds/{made['buildID']}").text
    assert "hunter2" not in json.dumps(found) + history


def test_a_trial_leaves_nothing(served: Served) -> None:
    made = request(served, "web")
    assert start(served, made, {"plan": plan(TWO[0]), "trial": True}).status_code == 202
    assert end(served, made)["status"] == "ready"
    check_error(served.client.get("/templates/web"), 404, "not found")
    check_error(served.client.post("/v2/sandboxes", json={"templateID": "web"}), 404, "not found")
    assert request(served, "web")["tags"] == ["default"]


class HangingNode(FakeNode):
    """Its commands never end by themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.program = self._hang

    async def _hang(self, _spec: SandboxSpec, _command: Command, _output: Output) -> int:
        await asyncio.Event().wait()
        return 0


def test_a_build_is_cancelled(serve: Serve) -> None:
    served = serve(HangingNode())
    made = request(served, "web")
    start(served, made, {"plan": plan(TWO[0])})
    path = f"/berm/templates/web/builds/{made['buildID']}"
    with served.connect(served.other_team_key()) as stranger:
        check_error(stranger.delete(path), 404, "not found")
    response = served.client.delete(path)
    assert (response.status_code, response.content) == (204, b"")
    found = status(served, made)
    assert (found["status"], found["reason"]["message"]) == ("error", "the build was cancelled")
    assert not served.node.running()


def test_deleting_a_template_ends_its_builds(serve: Serve) -> None:
    served = serve(HangingNode())
    made = request(served, "web")
    start(served, made, {"plan": plan(TWO[0])})
    assert served.client.delete("/templates/web").status_code == 204
    assert not served.node.running()
    check_error(served.client.get("/templates/web"), 404, "not found")


def change(path: str, value: object) -> Json:
    made = plan(TWO[0])
    place: Any = made
    *parents, last = path.split(".")
    for part in parents:
        place = place[int(part) if part.isdecimal() else part]
    place[last] = value
    return made


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "plan is missing"),
        ({"plan": []}, "plan is []"),
        ({"plan": {}}, "plan.stages is missing"),
        ({"plan": change("nope", 1)}, "plan.nope is not a field that is known"),
        ({"plan": change("version", 2)}, "plan.version is 2"),
        ({"plan": change("stages.0.steps.0.action.argv", [])}, "plan.stages.0.steps.0.action.argv is ()"),
        ({"plan": change("stages.0.steps.0.action.workdir", "/../x")}, "workdir is '/../x'"),
        ({"plan": plan(), "nope": 1}, "nope is not a field of this call"),
        ({"plan": plan(), "trial": 1}, "trial is 1"),
        ({"plan": plan(), "timeout": 0}, "timeout is 0"),
        ({"plan": plan(), "secrets": {"a": "hunter2!"}}, "secrets.a is wrong"),
        ({"plan": plan(), "secrets": {"a": "A" * 800_000}}, "a secret has at most 524288 bytes"),
        ({"plan": plan(), "secrets": {"": ""}}, "secrets"),
        ({"plan": plan(), "secrets": {str(n): "" for n in range(101)}}, "secrets is wrong"),
    ],
)
def test_what_cannot_be_built(served: Served, body: Json, message: str) -> None:
    made = request(served, "web")
    response = start(served, made, body)
    check_error(response, 400, message)
    assert "hunter2" not in response.text
    assert status(served, made)["status"] == "waiting"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"plan": plan()}, "name is missing"),
        ({"name": "web"}, "plan is missing"),
        ({"name": "Web", "plan": plan()}, "'Web' is not a name"),
        ({"name": "web", "plan": plan(), "tags": ["X"]}, "'web:X' is not a name"),
        ({"name": "web", "plan": plan(), "cpuCount": 0}, "cpuCount is 0"),
        ({"name": "web", "plan": plan(), "cpus": 1}, "cpus is not a field of this call"),
        ({"name": "web", "plan": change("stages.0.base.name", "../x")}, "'../x'"),
    ],
)
def test_what_cannot_be_looked_at(untouched: Served, body: Json, message: str) -> None:
    response = preview(untouched, body)
    assert response.status_code in (400, 404)
    check_error(response, response.status_code, message)


def test_a_plan_may_be_larger_than_other_bodies(served: Served) -> None:
    body = json.dumps({"name": "web", "plan": plan()}).encode()
    assert served.client.post("/berm/plan", content=body.ljust(4 * MAX_BODY)).status_code == 200
    response = served.client.post("/berm/plan", content=body.ljust(MAX_PLAN + 1))
    check_error(response, 413, f"larger than {MAX_PLAN} bytes")


def test_a_stranger_is_refused_before_the_body_is_read(served: Served) -> None:
    with served.connect("e2b_00") as stranger:
        check_error(stranger.post("/berm/plan", content=b"{"), 401, "not known")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"plan": {"a": "\\ud800"}}'])
def test_a_body_that_is_no_json(untouched: Served, body: bytes) -> None:
    check_error(untouched.client.post("/berm/plan", content=body), 400, "the body is not JSON")


def test_images_are_resolved_one_by_one(served: Served) -> None:
    body = {"references": ["e2bdev/base", "NOT/AN/IMAGE", "127.0.0.1:1/x:1"]}
    response = served.client.post("/berm/images", json=body, timeout=60)
    assert response.status_code == 200, response.text
    own, wrong, gone = response.json()["images"]
    assert (own["reference"], own["config"]["env"]) == ("e2bdev/base", {"LANG": "C.UTF-8"})
    assert own["digest"].startswith("sha256:")
    assert (wrong["reference"], wrong["code"]) == ("NOT/AN/IMAGE", "invalid_argument")
    assert (gone["reference"], gone["code"]) == ("127.0.0.1:1/x:1", "unavailable")
    assert wrong["message"] and gone["message"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "references is missing"),
        ({"references": "x"}, "references is 'x'"),
        ({"references": ["x"] * 101}, "references is ['x'"),
        ({"references": ["x" * 513]}, "references.0 is 'xxx"),
        ({"references": [], "auth": {"username": "a", "password": 1234567}}, "auth.password is wrong"),
        ({"references": [], "auth": {"username": "a"}}, "auth.password is missing"),
        ({"references": [], "login": {}}, "login is not a field of this call"),
    ],
)
def test_what_cannot_be_resolved(untouched: Served, body: Json, message: str) -> None:
    response = untouched.client.post("/berm/images", json=body)
    check_error(response, 400, message)
    assert "1234567" not in response.text
