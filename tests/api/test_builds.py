"""E2B's build calls over a node that does nothing."""

import asyncio
import uuid
from typing import Any

import httpx
import pytest

from berm.models import SandboxSpec
from berm.node.interface import Command
from tests.api.checks import check_error
from tests.conftest import Serve
from tests.fakes import FakeNode, Output
from tests.serving import Served

Json = dict[str, Any]


def request(served: Served, name: str = "new", **fields: object) -> Json:
    response = served.client.post("/v3/templates", json={"name": name, **fields})
    assert response.status_code == 202, response.text
    made: Json = response.json()
    return made


def start(served: Served, made: Json, *commands: str, **fields: object) -> httpx.Response:
    steps = [{"type": "RUN", "args": [command], "force": False} for command in commands]
    path = f"/v2/templates/{made['templateID']}/builds/{made['buildID']}"
    return served.client.post(path, json={"fromTemplate": "base", "steps": steps, **fields})


def status(served: Served, made: Json, **query: float) -> Json:
    path = f"/templates/{made['templateID']}/builds/{made['buildID']}/status"
    response = served.client.get(path, params=query, timeout=60)
    assert response.status_code == 200, response.text
    found: Json = response.json()
    return found


def end(served: Served, made: Json) -> Json:
    """The status of a build that is over, with its whole log."""
    entries: list[Json] = []
    while True:
        found = status(served, made, wait=30, logsOffset=len(entries))
        entries += found["logEntries"]
        if found["status"] in ("ready", "error") and not found["logEntries"]:
            return {**found, "logEntries": entries}


def test_a_build_is_requested(served: Served) -> None:
    made = request(served, "web:v1", tags=["stable"], cpuCount=4, memoryMB=2048, teamID="ignored")
    assert (made["public"], made["names"], made["aliases"]) == (False, ["web"], ["web"])
    assert made["tags"] == ["v1", "stable"]
    uuid.UUID(made["buildID"])
    found = served.client.get(f"/templates/{made['templateID']}").json()
    assert (found["buildStatus"], found["cpuCount"], found["memoryMB"]) == ("waiting", 4, 2048)
    again = request(served, "web")
    assert (again["templateID"], again["tags"]) == (made["templateID"], ["default"])
    assert again["buildID"] != made["buildID"]


def test_the_older_form_answers_with_the_template(served: Served) -> None:
    response = served.client.post("/v2/templates", json={"alias": "web", "cpuCount": 1})
    assert response.status_code == 202
    made = response.json()
    assert (made["aliases"], made["cpuCount"], made["buildStatus"]) == (["web"], 1, "waiting")
    assert start(served, made).status_code == 202


@pytest.mark.parametrize(
    ("fields", "disk_mb"),
    [({}, 10240), ({"diskMB": 100}, 100), ({"minFreeDiskMb": 100}, 10240), ({"minFreeDiskMb": 20000}, 20000)],
)
def test_the_disk_of_sandboxes(served: Served, fields: Json, disk_mb: int) -> None:
    made = request(served, **fields)
    assert served.client.get(f"/templates/{made['templateID']}").json()["diskSizeMB"] == disk_mb


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "name is missing"),
        ({"name": ""}, "name is missing"),
        ({"name": "A"}, "template 'A' is not a name"),
        ({"name": ":x"}, "template ':x' is not a name"),
        ({"name": "x:"}, "template 'x:' is not a name"),
        ({"name": "x:y:z"}, "template 'x:y:z' is not a name"),
        ({"name": "x@1"}, "names a build"),
        ({"name": "x" * 129}, "name is 'xxx"),
        ({"name": "x", "tags": ["Y"]}, "'x:Y' is not a name"),
        ({"name": "x", "cpuCount": 0}, "cpuCount is 0"),
        ({"name": "x", "cpuCount": 257}, "cpuCount is 257"),
        ({"name": "x", "cpuCount": "2"}, "cpuCount is '2'"),
        ({"name": "x", "memoryMB": 127}, "memoryMB is 127"),
        ({"name": "x", "diskMB": 63}, "diskMB is 63"),
        ({"name": "x", "minFreeDiskMb": -1}, "minFreeDiskMb is -1"),
    ],
)
def test_what_cannot_be_requested(untouched: Served, body: Json, message: str) -> None:
    check_error(untouched.client.post("/v3/templates", json=body), 400, message)


def test_steps_are_built_and_followed(served: Served) -> None:
    made = request(served)
    response = start(served, made, "echo one", "echo two", startCmd="serve", readyCmd="curl")
    assert (response.status_code, response.content) == (202, b"")
    found = end(served, made)
    assert (found["status"], found["templateID"], found["buildID"]) == (
        "ready",
        made["templateID"],
        made["buildID"],
    )
    entries = found["logEntries"]
    assert [entry["step"] for entry in entries if "echo one" in entry["message"]] == ["1", "1"]
    assert {"timestamp", "level", "message"} <= set(entries[0])
    commands = [command.argv[-1] for _, command in served.node.commands]
    assert commands[-4:] == ["echo one", "echo two", "serve", "curl"]
    sandbox = served.client.post("/v2/sandboxes", json={"templateID": "new"})
    assert sandbox.status_code == 201


async def fails(_spec: SandboxSpec, command: Command, output: Output) -> int:
    output("because")
    return 7 if command.argv[-1] == "fail" else 0


def test_a_failing_step_is_the_reason(served: Served) -> None:
    served.node.program = fails
    made = request(served)
    start(served, made, "fine", "fail")
    found = end(served, made)
    assert found["status"] == "error"
    reason = found["reason"]
    assert reason["step"] == "2"
    assert "failed to run command 'fail': command failed: exit status 7" in reason["message"]
    assert "because" in reason["message"]
    check_error(served.client.post("/v2/sandboxes", json={"templateID": "new"}), 409, "exit status 7")


class WaitingNode(FakeNode):
    """Its commands end when they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.program = self._wait

    async def _wait(self, _spec: SandboxSpec, command: Command, output: Output) -> int:
        if "wait" in command.argv:
            output("waiting")
            await self.go.wait()
        return 0

    async def let_go(self) -> None:
        self.go.set()


def test_a_status_that_waits_ends_with_the_news(serve: Serve) -> None:
    node = WaitingNode()
    served = serve(node)
    made = request(served)
    start(served, made, "wait")
    messages: list[str] = []
    while "waiting" not in messages:
        messages += [entry["message"] for entry in status(served, made, wait=30)["logEntries"]]
    seen = len(status(served, made)["logEntries"])
    served.call(node.let_go())
    # Without the news this would answer after 30 s, with nothing.
    while (found := status(served, made, wait=30, logsOffset=seen))["status"] == "building":
        assert found["logEntries"]
        seen += len(found["logEntries"])
    assert found["status"] == "ready"


def test_a_status_that_waits_for_nothing_ends_by_itself(serve: Serve) -> None:
    served = serve(WaitingNode())
    made = request(served)
    start(served, made, "wait")
    found = status(served, made, logsOffset=1000, wait=0.01)
    assert (found["status"], found["logEntries"]) == ("building", [])


def test_a_build_begins_once(served: Served) -> None:
    made = request(served)
    assert start(served, made, "true").status_code == 202
    check_error(start(served, made, "true"), 409, f"build '{made['buildID']}' is")


@pytest.mark.parametrize(
    ("body", "status_code", "message"),
    [
        ({"steps": {}}, 400, "steps is {}"),
        ({"steps": [{}]}, 400, "steps.0.type is missing"),
        ({"steps": [{"type": "EXPOSE"}]}, 400, "steps.0.type is 'EXPOSE'"),
        ({"steps": [{"type": "RUN", "args": [1]}]}, 400, "steps.0.args.0 is 1"),
        ({"steps": [{"type": "RUN", "args": ["a\0"]}]}, 400, "steps.0.args.0 is 'a\\x00'"),
        ({"steps": [{"type": "RUN"}] * 1001}, 400, "steps is [{"),
        ({"fromImageRegistry": {"type": "aws", "awsRegion": "eu"}}, 501, "type is 'aws'"),
        ({"fromImageRegistry": {"type": "gcp"}}, 400, "serviceAccountJson is"),
        ({"fromImageRegistry": {"type": "registry", "password": 1}}, 400, "username is"),
    ],
)
def test_what_cannot_be_started(served: Served, body: Json, status_code: int, message: str) -> None:
    made = request(served)
    path = f"/v2/templates/{made['templateID']}/builds/{made['buildID']}"
    check_error(served.client.post(path, json=body), status_code, message)
    assert status(served, made)["status"] == "waiting"


def test_a_registrys_secret_is_in_no_answer(served: Served) -> None:
    made = request(served)
    path = f"/v2/templates/{made['templateID']}/builds/{made['buildID']}"
    body = {"fromImageRegistry": {"type": "nope", "password": "hunter2"}}
    response = served.client.post(path, json=body)
    check_error(response, 400, "fromImageRegistry is wrong")
    assert "hunter2" not in response.text


def test_builds_of_others_and_of_nobody(served: Served) -> None:
    made = request(served)
    path = f"/templates/{made['templateID']}/builds/{made['buildID']}"
    with served.connect(served.other_team_key()) as stranger:
        check_error(stranger.post(f"/v2{path}", json={}), 404, "not found")
        check_error(stranger.get(f"{path}/status"), 404, "not found")
        check_error(stranger.get(f"{path}/logs"), 404, "not found")
        foreign = f"/v2/templates/base/builds/{served.base.build_id}"
        check_error(stranger.post(foreign, json={}), 403, "belongs to another team")
    check_error(served.client.post("/v2/templates/new/builds/none", json={}), 404, "has no build 'none'")
    check_error(served.client.post(f"/v2/templates/none/builds/{made['buildID']}", json={}), 404, "not found")


def test_a_log_is_read_from_both_ends(served: Served) -> None:
    made = request(served)
    start(served, made, "echo one")
    end(served, made)
    path = f"/templates/{made['templateID']}/builds/{made['buildID']}/logs"
    forward = served.client.get(path).json()["logs"]
    backward = served.client.get(path, params={"direction": "backward"}).json()["logs"]
    assert len(forward) > 1
    assert backward == forward[::-1]
    assert served.client.get(path, params={"limit": 1}).json()["logs"] == forward[:1]
    assert served.client.get(path, params={"level": "error"}).json()["logs"] == []
    assert served.client.get(path, params={"cursor": 0, "direction": "backward"}).json()["logs"] == []
    assert served.client.get(path, params={"cursor": 0}).json()["logs"] == forward
    later = {"cursor": 4102444800000}
    assert served.client.get(path, params=later).json()["logs"] == []
    check_error(served.client.get(path, params={"cursor": 10**17}), 400, "cursor is 100000000000000000")
    check_error(served.client.get(path, params={"limit": 101}), 400, "limit is '101'")
