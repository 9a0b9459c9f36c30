import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Berm
from tests.cli.standin import JSON, StandIn, answer
from tests.cli.test_template_build import DIGEST, DOCKERFILE, OTHER, PLAN, images, planned, sent
from tests.cli.test_templates import template

UNKNOWN = {"reference": "debian:12", "code": "unavailable", "message": "no such host"}
LOCKED = f"debian:12@{OTHER}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "box"
    folder.mkdir()
    (folder / "e2b.toml").write_text('name = "web"\ntags = ["stable"]\n')
    (folder / "Dockerfile").write_text("FROM scratch AS other\n" + DOCKERFILE)
    (folder / "file").write_text("content")
    return folder


@pytest.fixture
def ready(server: StandIn) -> StandIn:
    server.on("GET /templates", answer(200, [template()]))
    server.on("POST /berm/images", images("debian:12"))
    last = {"durationMs": 1500, "sizeBytes": 2048, "finishedAt": None}
    plan = planned("cached")
    plan["steps"][0]["last"] = last
    plan["steps"][1]["reason"] = "it is new"
    server.on(PLAN, answer(200, {**plan, "template": {"templateID": "t1", "number": 4, "buildID": "b"}}))
    return server


@pytest.fixture
def nowhere(berm: Berm) -> Berm:
    """Nobody chose a server, and none runs on this machine."""
    del berm.environ["BERM_URL"], berm.environ["BERM_API_KEY"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        berm.environ["BERM_PORT"] = str(free.getsockname()[1])
    return berm


def report(berm: Berm, folder: Path, *options: str) -> JSON:
    done = berm("template", "build", str(folder), "--dry-run", "--json", *options)
    found: JSON = json.loads(done.stdout)
    assert found["ok"] is (done.returncode == 0)
    return found


def test_a_plan_for_people(berm: Berm, ready: StandIn, folder: Path) -> None:
    done = berm("template", "build", str(folder), "--dry-run", "--tag", "v1.0.0")
    assert done.returncode == 0
    lines = [" ".join(line.split()) for line in done.stdout.decode().splitlines()]
    assert lines[0] == (
        f"Template web on {ready.url}; its build 4 is the newest; "
        "a build would be tagged default, latest, stable, v1.0.0"
    )
    assert f"debian:12 {DIGEST[:19]} - -" in lines
    assert "1 0 Dockerfile:3 cached 1.5 s 2.0 KiB COPY file /file -" in lines
    assert "2 0 Dockerfile:4 build - - RUN make it is new" in lines
    assert any("unneeded" in line and "the stage other" in line for line in lines)


def test_it_changes_nothing(berm: Berm, ready: StandIn, folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    report(berm, folder, "--update-lock")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    made = {f"{call.method} {call.path}" for call in ready.calls}
    assert made == {"GET /templates", "POST /berm/images", PLAN}


def test_the_plan_as_json_has_everything(berm: Berm, ready: StandIn, folder: Path) -> None:
    found = report(berm, folder)
    assert (found["name"], found["server"], found["drift"]) == ("web", ready.url, [])
    assert found["files"]["count"] == 3
    assert found["uploads"][0]["steps"] == ["1"]
    assert found["uploads"][0]["bytes"] == len("content")
    assert [step["state"] for step in found["steps"]] == ["cached", "build", "config", "unneeded"]
    assert {problem["severity"] for problem in found["problems"]} == {"warning"}


def lock(folder: Path, digest: str) -> None:
    text = f'version = 1\n[images."debian:12"]\ndigest = "{digest}"\nresolved_at = 2026-01-01T00:00:00Z\n'
    (folder / "e2b.lock").write_text(text)


def test_drift_is_shown_and_the_lock_is_what_would_be_built(berm: Berm, ready: StandIn, folder: Path) -> None:
    lock(folder, OTHER)
    answers = images("debian:12", LOCKED)
    answers.body = answers.body.replace(DIGEST.encode(), OTHER.encode()).replace(
        OTHER.encode(), DIGEST.encode(), 1
    )
    ready.on("POST /berm/images", answers)
    found = report(berm, folder)
    assert found["drift"] == ["debian:12"]
    assert found["images"][0] == {"reference": "debian:12", "digest": DIGEST, "locked": OTHER, "why": ""}
    (asked,) = sent(ready, PLAN)
    assert asked["plan"]["stages"][0]["base"]["digest"] == OTHER
    assert b"drift" in berm("template", "build", str(folder), "--dry-run").stdout


def test_an_image_that_cannot_be_reached_is_no_reason_to_stop(
    berm: Berm, ready: StandIn, folder: Path
) -> None:
    ready.on("POST /berm/images", answer(200, {"images": [UNKNOWN]}))
    found = report(berm, folder)
    assert found["images"][0]["why"] == "no such host"
    assert {step["state"] for step in found["steps"]} == {"unknown", "config", "unneeded"}
    assert any("no such host" in problem["message"] for problem in found["problems"])


def test_an_image_that_is_not_there_is_an_error(berm: Berm, ready: StandIn, folder: Path) -> None:
    gone = {**UNKNOWN, "code": "not_found", "message": "manifest unknown"}
    ready.on("POST /berm/images", answer(200, {"images": [gone]}))
    done = berm("template", "build", str(folder), "--dry-run")
    assert done.returncode == 1
    assert f"{folder}/Dockerfile:2:1: error: what debian:12 is could not be found out: manifest unknown" in (
        done.stderr.decode()
    )


def test_without_a_server_all_but_the_cache_is_shown(nowhere: Berm, folder: Path) -> None:
    (folder / "Dockerfile").write_text("FROM e2bdev/base\nCOPY file /file\n")
    found = report(nowhere, folder)
    assert (found["server"], found["why"]) == ("", "none is named, and none runs on this machine")
    assert [step["state"] for step in found["steps"]] == ["unknown"]
    assert found["uploads"][0]["present"] is None


def test_a_registry_is_asked_where_there_is_no_server(nowhere: Berm, folder: Path) -> None:
    (folder / "Dockerfile").write_text("FROM 127.0.0.1:1/image:1\n")
    (image,) = report(nowhere, folder)["images"]
    assert "127.0.0.1:1" in image["why"]


AS_NOBODY = """
import os
from berm.cli import template_registries
os.setgroups([]); os.setgid(65534); os.setuid(65534)
print(template_registries.resolved(["127.0.0.1:1/image:1"])["127.0.0.1:1/image:1"].why)
"""


def test_nobody_needs_to_be_root_to_ask_a_registry() -> None:
    command = [sys.executable, "-c", AS_NOBODY]
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    assert "connection refused" in said


def test_a_chosen_server_without_a_key_is_done_without(berm: Berm, folder: Path) -> None:
    del berm.environ["BERM_API_KEY"]
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY file /file\n")
    assert report(berm, folder)["server"] == ""


def test_a_wrong_key_is_an_error(berm: Berm, server: StandIn, folder: Path) -> None:
    server.on("GET /templates", answer(401, {"code": 401, "message": "no such key"}))
    assert berm("template", "build", str(folder), "--dry-run").returncode == 77


PLACES = [f"Dockerfile:{line}:1:" for line in (2, 3, 4, 5)] + ["e2b.toml:2:1:", "e2b.toml:3:1:"]
WRONG = {
    "Dockerfile": "FROM debian:12\nRUNN true\nCOPY nowhere /x\nRUN --mount=type=ssh true\nUSER a:b:c\n",
    "e2b.toml": 'name = "web"\ncpu_cont = 2\nmemory_mb = 1\n',
}


def test_everything_that_is_wrong_is_said_at_once(berm: Berm, ready: StandIn, folder: Path) -> None:
    for name, text in WRONG.items():
        (folder / name).write_text(text)
    done = berm("template", "build", str(folder), "--dry-run")
    said = done.stderr.decode()
    assert done.returncode == 1
    assert done.stdout == b""
    for place in PLACES:
        assert f"{folder}/{place}" in said
    assert "did you mean cpu_count?" in said
    assert not ready.calls


@pytest.mark.parametrize("command", [("build", "--dry-run"), ("validate",)])
def test_what_is_wrong_as_json(berm: Berm, folder: Path, command: tuple[str, ...]) -> None:
    (folder / "e2b.toml").write_text('name = "web"\nnonsense = 1\n')
    done = berm("template", *command, str(folder), "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["ok"] is False
    (problem,) = found["problems"]
    assert (problem["line"], problem["column"], problem["severity"]) == (2, 1, "error")


def test_files_that_are_missing_ignored_or_forbidden(berm: Berm, ready: StandIn, folder: Path) -> None:
    (folder / "Dockerfile").write_text("FROM debian:12\nCOPY left /x\nCOPY nothing /x\nCOPY . /x\n")
    (folder / "left").touch()
    (folder / ".dockerignore").write_text("left\n")
    (folder / "out").symlink_to("/etc/shadow")
    (folder / "pipe").touch()
    done = berm("template", "validate", str(folder))
    said = done.stderr.decode()
    assert done.returncode == 1
    assert "Dockerfile:2:1: error: 'left' is left out of the build context" in said
    assert "Dockerfile:3:1: error: there is no 'nothing' in the build context" in said


def test_validate_asks_nobody(berm: Berm, ready: StandIn, folder: Path) -> None:
    done = berm("template", "validate", str(folder))
    assert done.returncode == 0
    assert done.stderr.decode().endswith("e2b.toml is right.\n")
    assert not ready.calls


def test_a_download_is_part_of_the_plan(berm: Berm, ready: StandIn, folder: Path) -> None:
    served = answer(200)
    served.body = b"downloaded"
    ready.on("GET /file.txt", served)
    (folder / "Dockerfile").write_text(f"FROM debian:12\nADD {ready.url}/file.txt /x\n")
    first = report(berm, folder)["uploads"][0]
    assert (first["steps"], first["bytes"]) == (["1"], len("downloaded"))
    served.body = b"otherwise."
    assert report(berm, folder)["uploads"][0]["digest"] != first["digest"]


def test_a_download_that_is_not_what_it_should_be(berm: Berm, ready: StandIn, folder: Path) -> None:
    ready.on("GET /file.txt", answer(200))
    (folder / "Dockerfile").write_text(
        f"FROM debian:12\nADD --checksum={DIGEST} {ready.url}/file.txt /x\nADD {ready.url}/gone /y\n"
    )
    done = berm("template", "build", str(folder), "--dry-run")
    assert done.returncode == 2
    assert f"and not {DIGEST}" in done.stderr.decode()
