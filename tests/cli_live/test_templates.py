"""`berm template` with a real server: what is built is what runs."""

import json
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.instance import BERM, Instance

DOCKERFILE = """\
FROM e2bdev/base
USER root
COPY greeting /greeting
RUN cat /greeting > /copy
RUN --mount=type=secret,id=token test "$(cat /run/secrets/token 2> /dev/null)" != wrong
USER user
"""


@pytest.fixture
def folder(tmp_path: Path, berm: Instance) -> Iterator[Path]:
    """A template's folder; what was built of it is deleted afterwards. Its name is the folder's."""
    name = f"live-{tmp_path.name.removeprefix('test_')[:40].strip('_')}".replace("_", "-")
    folder = tmp_path / name
    folder.mkdir()
    (folder / "e2b.toml").write_text(f'name = "{name}"\nmemory_mb = 256\n')
    (folder / "Dockerfile").write_text(DOCKERFILE)
    # A server that is kept between runs has the layers of the last one.
    (folder / "greeting").write_text(f"hello {uuid.uuid4()}\n")
    yield folder
    berm.berm("template", "delete", name, check=False)


def build(berm: Instance, folder: Path, *options: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(berm.berm("template", "build", str(folder), "--json", *options).stdout)
    return made


def states(berm: Instance, folder: Path) -> list[str]:
    plan = json.loads(berm.berm("template", "build", str(folder), "--dry-run", "--json").stdout)
    return [step["state"] for step in plan["steps"]]


def inside(berm: Instance, reference: str, command: str) -> str:
    sandbox = berm.berm("sandbox", "create", reference).stdout.strip()
    try:
        return berm.berm("sandbox", "exec", sandbox, command).stdout
    finally:
        berm.berm("sandbox", "kill", sandbox)


def templates(berm: Instance) -> list[str]:
    found = json.loads(berm.berm("template", "list", "--json").stdout)
    return [name for template in found for name in template["names"]]


def test_a_template_from_its_first_build_to_its_last(berm: Instance, folder: Path) -> None:
    name, hello = folder.name, (folder / "greeting").read_text()
    day = hello.replace("hello", "good day")
    assert set(states(berm, folder)) == {"build", "config"}
    assert name not in templates(berm)
    first = build(berm, folder, "--tag", "v1.0.0")
    assert (first["number"], sorted(first["tags"])) == (1, ["default", "latest", "v1.0.0"])
    assert inside(berm, name, "cat /copy && id -un") == f"{hello}user\n"
    assert set(states(berm, folder)) == {"cached", "config"}

    (folder / "greeting").write_text(day)
    assert "build" in states(berm, folder)
    second = build(berm, folder)
    assert inside(berm, f"{name}:latest", "cat /copy") == day
    assert inside(berm, f"{name}:v1.0.0", "cat /copy") == hello
    assert second["number"] == 2

    assert berm.berm("template", "rollback", name).stdout.endswith("moved from build 2 to build 1\n")
    assert inside(berm, name, "cat /copy") == hello
    numbers = [one["number"] for one in json.loads(berm.berm("template", "builds", name, "--json").stdout)]
    assert numbers == [2, 1]
    assert "2" in berm.berm("template", "stats", name).stdout
    berm.berm("template", "delete", name)
    assert name not in templates(berm)


def test_a_version_never_moves_and_other_tags_do(berm: Instance, folder: Path) -> None:
    build(berm, folder, "--tag", "v1.0.0")
    build(berm, folder)
    assert berm.berm("template", "tag", f"{folder.name}@1", "stable").stdout == f"{folder.name}:stable\n"
    assert berm.berm("template", "tag", f"{folder.name}@2", "stable").returncode == 0
    done = berm.berm("template", "tag", f"{folder.name}@2", "v1.0.0", check=False)
    assert done.returncode == 73
    berm.berm("template", "untag", folder.name, "stable")
    assert "stable" not in berm.berm("template", "info", folder.name).stdout


def test_what_is_different_between_two_builds(berm: Instance, folder: Path) -> None:
    build(berm, folder)
    (folder / "greeting").write_text("good day\n")
    (folder / "Dockerfile").write_text(DOCKERFILE + "ENV COLOUR=green\n")
    build(berm, folder)
    found = berm.berm("template", "diff", f"{folder.name}@1", f"{folder.name}@2").stdout
    assert "/greeting" in found
    assert "COLOUR" in found


def test_a_trial_is_real_and_leaves_nothing(berm: Instance, folder: Path) -> None:
    done = berm.berm("template", "build", str(folder), "--dry-run=build")
    assert "cat /greeting > /copy" in done.stderr
    assert folder.name not in templates(berm)
    (folder / "Dockerfile").write_text(DOCKERFILE + "RUN false\n")
    assert berm.berm("template", "build", str(folder), "--dry-run=build", check=False).returncode == 1


def test_a_step_that_fails_is_shown_with_its_line_and_last_words(berm: Instance, folder: Path) -> None:
    (folder / "Dockerfile").write_text("FROM e2bdev/base\n\nRUN echo last words && exit 7\n")
    done = berm.berm("template", "build", str(folder), check=False)
    assert done.returncode == 1
    assert f"{folder}/Dockerfile:3:1: error: step 1, RUN echo last words && exit 7: " in done.stderr
    assert "exit status 7" in done.stderr
    assert done.stderr.count("last words\n") >= 2  # while it goes on, and in the error
    assert "last words" in berm.berm("template", "logs", folder.name).stdout
    assert berm.berm("sandbox", "create", folder.name, check=False).returncode != 0


def test_a_secret_is_used_and_seen_nowhere(berm: Instance, folder: Path) -> None:
    secret = folder.parent / "token"
    secret.write_text("very-secret-value")
    (folder / "Dockerfile").write_text(
        "FROM e2bdev/base\nUSER root\n"
        "RUN --mount=type=secret,id=token cat /run/secrets/token && wc -c < /run/secrets/token > /size\n"
    )
    done = berm.berm("template", "build", str(folder), "--secret", f"id=token,src={secret}")
    log = berm.berm("template", "logs", folder.name).stdout
    detail = berm.berm("template", "info", f"{folder.name}@1", "--json").stdout
    assert "very-secret-value" not in done.stdout + done.stderr + log + detail
    assert inside(berm, folder.name, "cat /size; ls /run/secrets 2>/dev/null || true") == "17\n"


def test_ctrl_c_ends_the_build_on_the_server(berm: Instance, folder: Path) -> None:
    (folder / "Dockerfile").write_text("FROM e2bdev/base\nRUN echo begun && sleep 1000\n")
    command = [BERM, "template", "build", str(folder)]
    with subprocess.Popen(command, env=berm.env, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        for line in process.stderr:
            if line.endswith("] begun\n"):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "The build was cancelled.\n" in rest
    (one,) = json.loads(berm.berm("template", "builds", folder.name, "--json").stdout)
    assert (one["status"], one["cause"]) == ("error", "cancelled")


def test_a_log_is_followed_while_the_build_goes_on(berm: Instance, folder: Path) -> None:
    (folder / "Dockerfile").write_text("FROM e2bdev/base\nRUN echo begun && sleep 1000\n")
    building = subprocess.Popen(
        [BERM, "template", "build", str(folder)], env=berm.env, stderr=subprocess.PIPE, text=True
    )
    assert building.stderr
    for line in building.stderr:
        if line.endswith("] begun\n"):
            break
    command = [BERM, "template", "logs", folder.name, "--follow"]
    with (
        building,
        subprocess.Popen(command, env=berm.env, stdout=subprocess.PIPE, text=True) as following,
    ):
        building.send_signal(signal.SIGTERM)
        building.stderr.read()
        assert following.stdout
        assert "[1] begun\n" in following.stdout.read()
    assert following.returncode == 0


def test_an_export_is_an_image_for_others(berm: Instance, folder: Path) -> None:
    build(berm, folder)
    archive = folder.parent / "image.tar"
    berm.berm("template", "export", folder.name, str(archive))
    command = ["skopeo", "inspect", "--config", f"oci-archive:{archive}"]
    config = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["config"]
    assert config["User"] == "user"


def test_the_examples_of_this_repository_have_a_plan(berm: Instance) -> None:
    root = Path(__file__).parents[2]
    for folder in ("e2b", "examples/e2b-debian"):
        done = berm.berm("template", "build", str(root / folder), "--dry-run", "--json")
        plan = json.loads(done.stdout)
        assert (plan["ok"], bool(plan["steps"])) == (True, True)
        assert not (root / folder / "e2b.lock").exists() or plan["images"][0]["locked"]


def test_scaffolding_can_be_built_as_it_is(berm: Instance, folder: Path) -> None:
    new = folder.parent / "new"
    berm.berm("template", "init", str(new), "--name", folder.name)
    assert build(berm, new)["number"] == 1
