import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Berm
from tests.cli.standin import JSON, StandIn, answer

BUILD = "0b5c1c36-8d2e-4d0e-9f3b-6a4f9b1f2d11"


def template(**fields: object) -> JSON:
    return {
        "templateID": "t1",
        "names": ["web"],
        "aliases": ["web"],
        "public": False,
        "buildID": BUILD,
        "buildStatus": "ready",
        "buildCount": 2,
        "spawnCount": 7,
        "cpuCount": 2,
        "memoryMB": 1024,
        "diskSizeMB": 10240,
        "createdAt": "2026-01-01T00:00:00Z",
        "updatedAt": "2026-01-02T00:00:00Z",
        "createdBy": None,
        "builds": [],
        **fields,
    }


def build(number: int = 2, **fields: object) -> JSON:
    return {
        "number": number,
        "buildID": BUILD,
        "templateID": "t1",
        "status": "ready",
        "tags": ["default", "latest"],
        "commit": "d9f806d9dddfe42268a5eb64164debe3684ca114-dirty",
        "actor": "octocat",
        "digest": "sha256:00",
        "createdAt": "2026-01-02T00:00:00Z",
        "finishedAt": "2026-01-02T00:00:09Z",
        "durationMs": 9100,
        "cachedSteps": 3,
        "steps": 12,
        "sizeBytes": 3 * 1024 * 1024,
        "reason": None,
        "cause": None,
        **fields,
    }


def test_list(berm: Berm, server: StandIn) -> None:
    server.on(
        "GET /v2/templates",
        answer(200, [template()], **{"x-next-token": "more"}),
        answer(200, [template(templateID="t2", names=["api"])]),
    )
    heading, *rows = berm("template", "list").stdout.decode().splitlines()
    assert heading.split()[:3] == ["NAME", "ID", "BUILDS"]
    assert [row.split()[:3] for row in rows] == [["web", "t1", "2"], ["api", "t2", "2"]]


def test_list_as_json(berm: Berm, server: StandIn) -> None:
    server.on("GET /v2/templates", answer(200, [template()]))
    assert json.loads(berm("template", "list", "--json").stdout) == [template()]


def test_info_of_a_template_has_its_tags(berm: Berm, server: StandIn) -> None:
    tags = [{"tag": "latest", "buildID": BUILD}, {"tag": "v1.0.0", "buildID": BUILD}]
    server.on("GET /templates/web", answer(200, template()))
    server.on("GET /templates/web/tags", answer(200, tags))
    shown = berm("template", "info", "web").stdout.decode()
    assert "latest v1.0.0\n" in shown
    assert json.loads(berm("template", "info", "web", "--json").stdout)["tags"] == tags


def test_info_of_a_build_has_its_steps(berm: Berm, server: StandIn) -> None:
    steps = [
        {"name": "1", "text": "RUN make", "line": 3, "cached": True, "durationMs": 61000, "sizeBytes": 5}
    ]
    server.on("GET /berm/templates/web/builds/v1.0.0", answer(200, build(steps=steps)))
    *_, row = berm("template", "info", "web:v1.0.0").stdout.decode().splitlines()
    assert re.split("  +", row) == ["1", "RUN make", "cached", "1 min 1 s", "5 B"]


def test_builds(berm: Berm, server: StandIn) -> None:
    failed = build(1, status="error", tags=[], reason="exit status 1\nlast words")
    server.on("GET /berm/templates/web/builds", answer(200, [build(), failed]))
    _, first, second = berm("template", "builds", "web").stdout.decode().splitlines()
    assert "default latest" in first
    assert "d9f806d9dd-dirty" in first
    assert "3 of 12" in first
    assert "9.1 s" in first
    assert "3.0 MiB" in first
    assert second.endswith("exit status 1 last words")


STATUS = f"GET /templates/t1/builds/{BUILD}/status"


def entry(message: str, step: str = "1") -> JSON:
    return {"timestamp": "2026-01-01T00:00:00Z", "level": "info", "message": message, "step": step}


def status(state: str, *entries: JSON, **more: object) -> JSON:
    return {"status": state, "logEntries": list(entries), **more}


def with_log(server: StandIn, state: str) -> None:
    server.on("GET /berm/templates/web/builds", answer(200, [build()]))
    server.on(
        STATUS,
        answer(200, status("building", entry("[1] RUN make"), entry("cc \x1b[31mx.c"))),
        answer(200, status("building")),
        answer(200, status(state, entry("done"))),
        answer(200, status(state)),
    )


def test_logs_without_following_end_with_what_is_there(berm: Berm, server: StandIn) -> None:
    with_log(server, "ready")
    assert berm("template", "logs", "web").stdout.decode() == "[1] RUN make\n[1] cc \ufffd[31mx.c\n"
    asked = [call.query for call in server.calls if call.path.endswith("/status")]
    assert asked == [{"logsOffset": ["0"]}, {"logsOffset": ["2"]}]


def test_logs_are_followed_to_the_end_of_the_build(berm: Berm, server: StandIn) -> None:
    with_log(server, "error")
    assert berm("template", "logs", "web", "--follow").stdout.decode().endswith("\n[1] done\n")
    asked = [call.query for call in server.calls if call.path.endswith("/status")]
    assert [query["logsOffset"] for query in asked] == [["0"], ["2"], ["2"], ["3"]]
    assert all("wait" in query for query in asked)


def test_logs_of_a_build_by_its_number(berm: Berm, server: StandIn) -> None:
    with_log(server, "ready")
    server.on("GET /berm/templates/web/builds/1", answer(200, build(1)))
    assert len(json.loads(berm("template", "logs", "web", "1", "--json").stdout)) == 2


def test_logs_of_a_template_without_builds(berm: Berm, server: StandIn) -> None:
    server.on("GET /berm/templates/web/builds", answer(200, []))
    done = berm("template", "logs", "web")
    assert done.returncode == 66
    assert b"has no builds" in done.stderr


@pytest.mark.parametrize("reference", ["web", "web:v1.0.0", "web@3"])
def test_tag(berm: Berm, server: StandIn, reference: str) -> None:
    server.on("POST /templates/tags", answer(201, {"tags": ["a", "b"], "buildID": BUILD}))
    assert berm("template", "tag", reference, "a", "b").stdout == b"web:a\nweb:b\n"
    assert server.calls[0].json() == {"target": reference, "tags": ["a", "b"]}


def test_untag(berm: Berm, server: StandIn) -> None:
    server.on("DELETE /templates/tags", answer(204))
    assert berm("template", "untag", "web", "a", "b").returncode == 0
    assert server.calls[0].json() == {"name": "web", "tags": ["a", "b"]}


@pytest.mark.parametrize(
    ("options", "body"), [((), {}), (("--to", "4", "--tag", "stable"), {"to": 4, "tag": "stable"})]
)
def test_rollback(berm: Berm, server: StandIn, options: tuple[str, ...], body: JSON) -> None:
    done = {"tags": ["default", "latest"], "from": 5, "to": 4}
    server.on("POST /berm/templates/web/rollback", answer(200, done))
    shown = berm("template", "rollback", "web", *options).stdout
    assert shown == b"web: default, latest moved from build 5 to build 4\n"
    assert server.calls[0].json() == body
    assert json.loads(berm("template", "rollback", "web", "--json").stdout) == done


DIFF: JSON = {
    "from": 1,
    "to": 2,
    "packages": {
        "added": [{"name": "git", "version": "2.39"}],
        "removed": [{"name": "svn", "version": "1.14"}],
        "changed": [{"name": "curl", "from": "7.88", "to": "8.0"}],
    },
    "files": {"added": ["/usr/bin/git"], "removed": [], "changed": [], "total": 1},
    "size": {"from": 1024, "to": 2048},
    "settings": [{"field": "env.A", "from": "", "to": "1"}],
}


def test_diff(berm: Berm, server: StandIn) -> None:
    server.on("GET /berm/templates/web/diff", answer(200, DIFF))
    _, *rows = berm("template", "diff", "web@1", "web:v2.0.0").stdout.decode().splitlines()
    assert [row.split() for row in rows] == [
        ["size", "-", "1.0", "KiB", "2.0", "KiB"],
        ["env.A", "setting", "-", "1"],
        ["package", "svn", "removed", "1.14", "-"],
        ["package", "git", "added", "-", "2.39"],
        ["package", "curl", "changed", "7.88", "8.0"],
        ["file", "/usr/bin/git", "added", "-", "-"],
    ]
    assert server.calls[0].query == {"from": ["1"], "to": ["v2.0.0"]}


def test_diff_is_of_one_template(berm: Berm) -> None:
    done = berm("template", "diff", "web:1", "api:2")
    assert done.returncode == 2
    assert b"different templates" in done.stderr


def test_stats(berm: Berm, server: StandIn) -> None:
    numbers = {"builds": 3, "causes": {"step_failed": 1}, "successRate": 0.66}
    server.on("GET /berm/stats", answer(200, numbers))
    server.on("GET /berm/templates/web/stats", answer(200, numbers))
    assert b"causes.step_failed  1\n" in berm("template", "stats").stdout
    assert json.loads(berm("template", "stats", "web", "--json").stdout) == numbers


def test_export_to_a_file_is_whole_or_not_at_all(berm: Berm, server: StandIn, tmp_path: Path) -> None:
    done = answer(200)
    done.body = b"\x00tar\xff"
    server.on("GET /berm/templates/web/export", done, answer(409, {"message": "it is being built"}))
    file = tmp_path / "web.tar"
    assert berm("template", "export", "web:v1.0.0", str(file)).returncode == 0
    assert file.read_bytes() == b"\x00tar\xff"
    assert server.calls[0].query == {"tag": ["v1.0.0"]}
    failed = berm("template", "export", "web", str(tmp_path / "other.tar"))
    assert failed.returncode == 73
    assert [path.name for path in tmp_path.iterdir()] == ["web.tar"]


@pytest.mark.parametrize("options", [(), ("file", "--push", "docker://r/x"), ("--push", "r/x")])
def test_export_wants_one_clear_destination(berm: Berm, options: tuple[str, ...]) -> None:
    done = berm("template", "export", "web", *options)
    assert done.returncode == 2
    assert b"docker://" in done.stderr


def test_export_says_when_a_push_fails(berm: Berm, server: StandIn) -> None:
    server.on("GET /berm/templates/web/export", answer(200, "no archive"))
    done = berm("template", "export", "web", "--push", "docker://127.0.0.1:1/web")
    assert done.returncode == 69
    assert b"could not push to docker://127.0.0.1:1/web" in done.stderr


def test_delete(berm: Berm, server: StandIn) -> None:
    server.on("DELETE /templates/a%2Fb", answer(204))
    assert berm("template", "delete", "a/b").returncode == 0


def test_init_writes_files_and_never_over_others(berm: Berm, tmp_path: Path) -> None:
    folder = tmp_path / "My Box"
    done = berm("template", "init", str(folder))
    assert done.returncode == 0
    assert sorted(path.name for path in folder.iterdir()) == [".dockerignore", "Dockerfile", "e2b.toml"]
    assert 'name = "my-box"' in (folder / "e2b.toml").read_text()
    (folder / ".dockerignore").unlink()
    (folder / "Dockerfile").write_text("mine")
    again = berm("template", "init", str(folder))
    assert again.returncode == 73
    assert b"Dockerfile" in again.stderr
    assert (folder / "Dockerfile").read_text() == "mine"
    assert not (folder / ".dockerignore").exists()


def test_init_refuses_a_name_that_no_template_can_have(berm: Berm, tmp_path: Path) -> None:
    done = berm("template", "init", str(tmp_path / "x"), "--name", "A b")
    assert done.returncode == 2
    assert not (tmp_path / "x").exists()


COMMANDS = "init validate build list info builds logs tag untag rollback diff stats export delete".split()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_examples(berm: Berm, command: str) -> None:
    done = berm("template", command, "--help")
    assert done.returncode == 0
    assert f"berm template {command}".encode() in done.stdout
