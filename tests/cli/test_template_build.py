import json
import signal
import threading
from pathlib import Path

import pytest

from berm.templates import lock
from tests.cli.conftest import Berm
from tests.cli.standin import JSON, KEY, Answer, StandIn, answer
from tests.cli.test_templates import BUILD, STATUS, build, entry, status

DIGEST = f"sha256:{'a' * 64}"
OTHER = f"sha256:{'b' * 64}"
DOCKERFILE = """\
FROM debian:12
COPY file /file
RUN --mount=type=secret,id=token make
ENV A=1
"""
CONFIG: JSON = {
    **{name: [] for name in ("cmd", "entrypoint", "ports", "volumes", "onbuild")},
    "env": {"PATH": "/bin"},
    "shell": ["/bin/sh", "-c"],
    "labels": {},
    "user": "",
    "workdir": "",
    "stopSignal": "",
    "health": None,
}
PLAN = "POST /berm/plan"
BEGIN = f"POST /berm/templates/t1/builds/{BUILD}"
CANCEL = f"DELETE /berm/templates/t1/builds/{BUILD}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "box"
    folder.mkdir()
    (folder / "e2b.toml").write_text('name = "web"\ncpu_count = 4\ntags = ["stable"]\n')
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "file").write_text("content")
    return folder


def images(*known: str) -> Answer:
    found = [{"reference": name, "digest": DIGEST, "config": CONFIG} for name in known]
    return answer(200, {"images": found})


def planned(copy: str = "build", present: bool = False, digest: str = "") -> JSON:
    steps = [("1", "COPY file /file", copy), ("2", "RUN make", "build"), ("3", "ENV A=1", "config")]
    return {
        "steps": [
            {"name": name, "stage": "0", "text": text, "line": 2, "state": state, "reason": "", "last": None}
            for name, text, state in steps
        ],
        "files": {digest: present} if digest else {},
        "template": None,
        "tags": [],
    }


def sent(server: StandIn, request: str) -> list[JSON]:
    return [call.json() for call in server.calls if f"{call.method} {call.path}" == request]


def digest_of_files(plan: JSON) -> str:
    return str(plan["stages"][-1]["steps"][0]["action"]["files_hash"])


@pytest.fixture
def digest(berm: Berm, server: StandIn, folder: Path) -> str:
    """What the client calls the file that the template copies."""
    server.on("POST /berm/images", images("debian:12"))
    server.on("GET /templates", answer(200, []))
    server.on(PLAN, answer(200, planned()))
    berm("template", "build", str(folder), "--dry-run")
    return digest_of_files(sent(server, PLAN)[0]["plan"])


@pytest.fixture
def ready(server: StandIn, digest: str) -> StandIn:
    """A server that builds whatever it is given."""
    made = {
        "templateID": "t1",
        "buildID": BUILD,
        "names": ["web"],
        "aliases": [],
        "tags": [],
        "public": False,
    }
    steps = [
        {"name": "1", "text": "COPY", "cached": True, "key": "k", "durationMs": 1, "sizeBytes": 2},
        {"name": "2", "text": "RUN", "cached": False, "key": "l", "durationMs": 1, "sizeBytes": 2},
        {"name": "3", "text": "ENV", "cached": True, "key": "", "durationMs": 0, "sizeBytes": 0},
    ]
    server.on(PLAN, answer(200, planned(digest=digest)))
    server.on("POST /v3/templates", answer(202, made))
    link = {"present": False, "url": f"{server.url}/upload?signature=x"}
    server.on(f"GET /templates/t1/files/{digest}", answer(201, link))
    server.on("PUT /upload", answer(200))
    server.on(BEGIN, Answer(202, b""))
    server.on(CANCEL, answer(204))
    server.on(
        STATUS,
        answer(200, status("building", entry("[1] COPY file /file"), entry("hello", "2"))),
        answer(200, status("ready")),
    )
    server.on(f"GET /berm/templates/t1/builds/{BUILD}", answer(200, build(steps=steps)))
    server.calls.clear()
    return server


def test_a_build_from_beginning_to_end(berm: Berm, ready: StandIn, folder: Path) -> None:
    done = berm("template", "build", str(folder), "--tag", "v1.0.0", "--memory", "2048")
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().splitlines() == [
        "Built web, build 2, in 9.1 s: 1 of 2 layers from the cache, 3.0 MiB, tagged default, latest",
        "Start a sandbox from it: berm sandbox create web",
    ]
    assert b"[1] COPY file /file\n[2] hello\n" in done.stderr
    (begun,) = sent(ready, "POST /v3/templates")
    assert begun == {
        "name": "web",
        "tags": ["default", "latest", "stable", "v1.0.0"],
        "cpuCount": 4,
        "memoryMB": 2048,
        "commit": "",
        "actor": "root",
    }
    (started,) = sent(ready, BEGIN)
    assert (started["trial"], started["secrets"]) == (False, {})
    assert started["plan"] == sent(ready, PLAN)[0]["plan"]
    assert not sent(ready, CANCEL)


def test_a_commit_and_githubs_actor_are_recorded(berm: Berm, ready: StandIn, folder: Path) -> None:
    berm.environ |= {"GITHUB_ACTIONS": "true", "GITHUB_ACTOR": "octocat"}
    assert berm("template", "build", str(folder)).returncode == 0
    assert sent(ready, "POST /v3/templates")[0]["actor"] == "octocat"


def test_files_go_to_the_link_without_our_key(berm: Berm, ready: StandIn, folder: Path) -> None:
    assert berm("template", "build", str(folder)).returncode == 0
    (upload,) = [call for call in ready.calls if call.method == "PUT"]
    assert upload.query == {"signature": ["x"]}
    assert "x-api-key" not in upload.headers
    assert KEY not in str(upload.headers)
    assert int(upload.headers["content-length"]) == len(upload.body)
    assert b"content" in upload.body


@pytest.mark.parametrize("found", [("cached", False), ("build", True)])
def test_files_that_are_not_needed_are_not_sent(
    berm: Berm, ready: StandIn, folder: Path, digest: str, found: tuple[str, bool]
) -> None:
    ready.on(PLAN, answer(200, planned(*found, digest)))
    assert berm("template", "build", str(folder)).returncode == 0
    assert not [call for call in ready.calls if "/files/" in call.path or call.method == "PUT"]


@pytest.mark.parametrize("source", ["src={}", "env=TOKEN", "env"])
def test_secrets_are_sent_with_the_build_only(
    berm: Berm, ready: StandIn, folder: Path, tmp_path: Path, source: str
) -> None:
    file = tmp_path / "token"
    file.write_text("hidden")
    berm.environ |= {"TOKEN": "hidden", "token": "hidden"}
    option = "id=token" if source == "env" else f"id=token,{source.format(file)}"
    done = berm("template", "build", str(folder), "--secret", option)
    assert done.returncode == 0
    assert sent(ready, BEGIN)[0]["secrets"] == {"token": "aGlkZGVu"}
    others = [call.body for call in ready.calls if f"{call.method} {call.path}" != BEGIN]
    assert b"hidden" not in b"".join([*others, done.stdout, done.stderr])


@pytest.mark.parametrize("option", ["", "id=a,src=/nonexistent", "id=a,env=UNSET", "src=x", "id=a,x=y"])
def test_a_secret_that_cannot_be_read(berm: Berm, ready: StandIn, folder: Path, option: str) -> None:
    done = berm("template", "build", str(folder), "--secret", option)
    assert done.returncode == 2
    assert b"--secret" in done.stderr
    assert not ready.calls


def test_a_step_that_fails(berm: Berm, ready: StandIn, folder: Path) -> None:
    reason = {
        "step": "2",
        "message": "failed to run command 'make': command failed: exit status 2\nlast words",
    }
    ready.on(STATUS, answer(200, status("error", reason=reason)))
    done = berm("template", "build", str(folder))
    assert done.returncode == 1
    said = done.stderr.decode()
    assert f"{folder}/Dockerfile:3:1: error: step 2, RUN --mount=type=secret,id=token make: failed" in said
    assert "exit status 2\nlast words" in said
    assert not (folder / "e2b.lock").exists()
    failed = json.loads(berm("template", "build", str(folder), "--json").stdout)
    assert failed["reason"] == reason


def test_a_step_that_fails_is_annotated(berm: Berm, ready: StandIn, folder: Path, tmp_path: Path) -> None:
    berm.environ |= {
        "GITHUB_ACTIONS": "true",
        "GITHUB_WORKSPACE": str(folder.parent),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }
    ready.on(STATUS, answer(200, status("error", reason={"step": "2", "message": "a\nb"})))
    done = berm("template", "build", str(folder))
    lines = done.stderr.decode().splitlines()
    (annotation,) = [line for line in lines if line.startswith("::error ")]
    assert annotation.startswith("::error file=box/Dockerfile,line=3,col=1,title=berm template::step 2, RUN")
    assert annotation.endswith("a%0Ab")
    # What the build prints stands between two marks; the annotation does not.
    begin = next(line for line in lines if line.startswith("::stop-commands::"))
    assert lines.index(f"::{begin.removeprefix('::stop-commands::')}::") < lines.index(annotation)
    assert "Dockerfile" in (tmp_path / "summary").read_text()


def test_an_image_that_nobody_knows_stops_before_anything_begins(
    berm: Berm, ready: StandIn, folder: Path
) -> None:
    unknown = {"reference": "debian:12", "code": "unavailable", "message": "no such host"}
    ready.on("POST /berm/images", answer(200, {"images": [unknown]}))
    done = berm("template", "build", str(folder))
    assert done.returncode == 1
    assert f"{folder}/Dockerfile:1:1: error: what debian:12 is could not be found out" in done.stderr.decode()
    assert [call.path for call in ready.calls] == ["/berm/images"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_leaving_early_cancels_the_build(
    berm: Berm, ready: StandIn, folder: Path, number: signal.Signals
) -> None:
    never = threading.Event()
    held = Answer(200, b"", {"Content-Type": "application/json"}, then=(never, b"{}"))
    ready.on(STATUS, held)
    with berm.popen("template", "build", str(folder)) as process:
        assert held.given.wait(60)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    never.set()
    assert process.returncode == 128 + number
    assert b"The build was cancelled.\n" in said
    assert ready.calls[-1].path == CANCEL.removeprefix("DELETE ")


def test_a_server_that_goes_away_is_an_error(berm: Berm, ready: StandIn, folder: Path) -> None:
    ready.on(BEGIN, answer(503, {"code": 503, "message": "it stops"}))
    done = berm("template", "build", str(folder))
    assert done.returncode == 69
    assert ready.calls[-1].method == "DELETE"


def test_the_lock_is_written_when_it_is_missing_and_honoured_when_it_is_there(
    berm: Berm, ready: StandIn, folder: Path
) -> None:
    assert berm("template", "build", str(folder)).returncode == 0
    assert lock.read(folder / "e2b.lock").images["debian:12"].digest == DIGEST
    before = (folder / "e2b.lock").read_bytes()
    ready.on("POST /berm/images", images(f"debian@{DIGEST}"))
    ready.on("POST /berm/images", images(f"debian:12@{DIGEST}"))
    ready.calls.clear()
    assert berm("template", "build", str(folder)).returncode == 0
    assert sent(ready, "POST /berm/images")[0]["references"] == [f"debian:12@{DIGEST}"]
    base = sent(ready, BEGIN)[0]["plan"]["stages"][0]["base"]
    assert base == {"kind": "image", "name": "debian:12", "digest": DIGEST}
    assert (folder / "e2b.lock").read_bytes() == before


def test_update_lock_moves_it(berm: Berm, ready: StandIn, folder: Path) -> None:
    assert berm("template", "build", str(folder)).returncode == 0
    text = (folder / "e2b.lock").read_text()
    (folder / "e2b.lock").write_text(text.replace(DIGEST, OTHER))
    assert berm("template", "build", str(folder), "--update-lock").returncode == 0
    assert lock.read(folder / "e2b.lock").images["debian:12"].digest == DIGEST


def test_the_servers_own_base_cannot_be_an_older_one(berm: Berm, ready: StandIn, folder: Path) -> None:
    (folder / "Dockerfile").write_text("FROM e2bdev/base\nCOPY file /file\n")
    ready.on("POST /berm/images", images("e2bdev/base"))
    assert berm("template", "build", str(folder)).returncode == 0
    text = (folder / "e2b.lock").read_text()
    (folder / "e2b.lock").write_text(text.replace(DIGEST, OTHER))
    done = berm("template", "build", str(folder))
    assert done.returncode == 1
    assert b"--update-lock" in done.stderr


def test_a_trial_keeps_nothing(berm: Berm, ready: StandIn, folder: Path) -> None:
    done = berm("template", "build", str(folder), "--dry-run=build")
    assert done.returncode == 0
    assert b"It can be built" in done.stderr
    assert sent(ready, BEGIN)[0]["trial"] is True
    assert not (folder / "e2b.lock").exists()


def test_a_build_as_json(berm: Berm, ready: StandIn, folder: Path) -> None:
    made = json.loads(berm("template", "build", str(folder), "--json").stdout)
    assert (made["ok"], made["name"], made["number"], made["tags"]) == (True, "web", 2, ["default", "latest"])


def test_no_cache_and_build_args_reach_the_plan(berm: Berm, ready: StandIn, folder: Path) -> None:
    (folder / "Dockerfile").write_text("FROM debian:12\nARG A\nARG B\nRUN make\n")
    berm.environ["B"] = "from here"
    options = ("--no-cache", "--build-arg", "A=1=2", "--build-arg", "B")
    assert berm("template", "build", str(folder), *options).returncode == 0
    plan = sent(ready, BEGIN)[0]["plan"]
    assert plan["force"] is True
    (action,) = [step["action"] for step in plan["stages"][0]["steps"] if step["action"]]
    assert action["args"] == {"A": "1=2", "B": "from here"}


OF_THE_IMAGE = {
    "argv": ["curl", "localhost"],
    "interval": 30.0,
    "timeout": 30.0,
    "start_period": 0.0,
    "start_interval": 5.0,
    "retries": 3,
}


@pytest.mark.parametrize(
    ("written", "argv"),
    [
        (("", ""), None),
        (("", 'start_cmd = "serve"\n'), ["curl", "localhost"]),
        (('HEALTHCHECK CMD ["test", "-e", "/x"]\n', ""), ["test", "-e", "/x"]),
    ],
)
def test_an_images_own_health_check_counts_only_with_a_start_command(
    berm: Berm, ready: StandIn, folder: Path, written: tuple[str, str], argv: list[str] | None
) -> None:
    found = {"reference": "debian:12", "digest": DIGEST, "config": {**CONFIG, "health": OF_THE_IMAGE}}
    ready.on("POST /berm/images", answer(200, {"images": [found]}))
    dockerfile, toml = written
    (folder / "Dockerfile").write_text(f"FROM debian:12\n{dockerfile}")
    with (folder / "e2b.toml").open("a") as file:
        file.write(toml)

    done = berm("template", "build", str(folder))

    assert done.returncode == 0, done.stderr
    health = sent(ready, BEGIN)[0]["plan"]["settings"]["health"]
    assert (health and health["argv"]) == argv


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--build-arg", "UNSET"), "the variable UNSET is not set"),
        (("--build-arg", "=x"), "it has no name"),
        (("--tag", "Nope"), "cannot be a tag"),
        (("--dry-run=maybe",), "maybe"),
        (("/nonexistent",), "/nonexistent"),
    ],
)
def test_a_command_line_that_is_wrong(
    berm: Berm, ready: StandIn, folder: Path, options: tuple[str, ...], why: str
) -> None:
    where = () if options[0].startswith("/") else (str(folder),)
    done = berm("template", "build", *where, *options)
    assert done.returncode in (2, 66)
    assert why in done.stderr.decode()
    assert not ready.calls
