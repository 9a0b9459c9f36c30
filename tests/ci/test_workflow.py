"""Our workflow, run as GitHub would for both events, with a real berm as the server."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from berm.cli import ci
from tests.ci.runner import Event, Runner, git, repository, triggered
from tests.ci.runner import load as load_workflow
from tests.instance import BERM, Instance, free_port

ROOT = Path(__file__).parents[2]
PULL_REQUEST = Event("pull_request")
PUSH = Event("push")
NAME = "ci-demo"
FILES = {
    "e2b/e2b.toml": f'name = "{NAME}"\n'.encode(),
    "e2b/Dockerfile": b"FROM e2bdev/base\nUSER root\nCOPY greeting /greeting\nRUN cat /greeting\nUSER user\n",
    "e2b/greeting": b"hello from ci\n",
}


@pytest.fixture
def runner(tmp_path: Path, berm: Instance) -> Iterator[Runner]:
    """A machine that checks out a repository with our workflow, our action and a small template."""
    own = {name: (ROOT / name).read_bytes() for name in (ci.PATH, "action.yml")}
    yield Runner(
        repository(tmp_path / "repository", {**own, **FILES}),
        tmp_path / "work",
        machine={
            "PATH": f"{Path(BERM).parent}:{os.environ['PATH']}",
            # A runner has no server of its own.
            "BERM_HOME": str(tmp_path / "home"),
            "BERM_PORT": str(free_port()),
        },
        secrets={"E2B_API_KEY": berm.key},
        variables={"E2B_API_URL": berm.url},
    )
    berm.berm("template", "delete", NAME, check=False)


def workflow(runner: Runner) -> Path:
    return runner.repository / ci.PATH


def templates(berm: Instance) -> list[str]:
    found = json.loads(berm.berm("template", "list", "--json").stdout)
    return [name for template in found for name in template["names"]]


def change(runner: Runner, name: str, text: str) -> None:
    (runner.repository / name).write_text(text)
    git(runner.repository, "commit", "--quiet", "--all", "--message", "Another")


def test_a_pull_request_shows_the_plan_and_changes_nothing(runner: Runner, berm: Instance) -> None:
    jobs = runner.run(workflow(runner), PULL_REQUEST)
    assert list(jobs) == ["plan"]
    assert jobs["plan"].succeeded, jobs["plan"].output
    assert "COPY greeting /greeting" in jobs["plan"].output
    assert f"### Plan of template {NAME}" in jobs["plan"].summary
    assert NAME not in templates(berm)


def test_a_pull_request_never_sees_the_key(runner: Runner, berm: Instance) -> None:
    (job,) = runner.run(workflow(runner), PULL_REQUEST).values()
    assert job.steps
    for step in job.steps:
        assert berm.key not in (*step.environment.values(), step.script, step.output)


def test_a_pull_request_with_mistakes_fails_with_each_at_its_line(runner: Runner) -> None:
    change(runner, "e2b/Dockerfile", "FROM e2bdev/base\nRUNN true\nCOPY nowhere /\n")
    (job,) = runner.run(workflow(runner), PULL_REQUEST).values()
    assert not job.succeeded
    assert "\n::error file=e2b/Dockerfile,line=2,col=1," in job.output
    assert "RUNN" in job.summary


def test_main_deploys_what_a_sandbox_starts_from(runner: Runner, berm: Instance) -> None:
    jobs = runner.run(workflow(runner), PUSH)
    assert list(jobs) == ["deploy"]
    assert jobs["deploy"].succeeded, jobs["deploy"].output
    (built,) = json.loads(berm.berm("template", "builds", NAME, "--json").stdout)
    assert built["commit"] == git(runner.repository, "rev-parse", "main")
    assert (built["actor"], sorted(built["tags"])) == ("octocat", ["default", "latest"])
    assert "cat /greeting" in jobs["deploy"].summary
    sandbox = berm.berm("sandbox", "create", NAME).stdout.strip()
    try:
        assert berm.berm("sandbox", "exec", sandbox, "cat /greeting").stdout == "hello from ci\n"
    finally:
        berm.berm("sandbox", "kill", sandbox)


def test_main_fails_when_a_step_does_and_nothing_is_deployed(runner: Runner, berm: Instance) -> None:
    change(runner, "e2b/Dockerfile", "FROM e2bdev/base\nRUN echo ::warning::mine && exit 3\n")
    (job,) = runner.run(workflow(runner), PUSH).values()
    assert not job.succeeded
    assert "\n::error file=e2b/Dockerfile,line=2,col=1," in job.output
    # What the step prints cannot be taken for a command: it is between the marks.
    printed = job.output.index("::warning::mine")
    assert job.output.index("::stop-commands::") < printed < job.output.index("\n::error file=")
    assert berm.berm("sandbox", "create", NAME, check=False).returncode == 73


@pytest.mark.parametrize("missing", ["secrets", "variables"])
def test_without_the_key_or_the_server_main_stops_at_once(
    runner: Runner, berm: Instance, missing: str
) -> None:
    without = replace(runner, secrets={}) if missing == "secrets" else replace(runner, variables={})
    (job,) = without.run(workflow(runner), PUSH).values()
    (step,) = job.steps
    assert step.exit_code == 1
    assert step.output.startswith("::error title=berm template::the ")
    assert ("E2B_API_KEY" if missing == "secrets" else "E2B_API_URL") in step.output
    assert NAME not in templates(berm)


@pytest.mark.parametrize(
    ("event", "starts"),
    [
        (PULL_REQUEST, True),
        (PUSH, True),
        (Event("pull_request", "topic", (ci.PATH,)), True),
        (Event("pull_request", "topic", ("src/berm/ids.py",)), False),
        (Event("push", "topic"), False),
        (Event("push", "main", ("README.md",)), False),
        (Event("pull_request_target"), False),
        (Event("workflow_dispatch"), False),
    ],
)
def test_what_starts_the_workflow(event: Event, starts: bool) -> None:
    assert triggered(load_workflow(ROOT / ci.PATH), event) is starts


def test_it_has_the_least_rights() -> None:
    document = load_workflow(ROOT / ci.PATH)
    assert document["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in document["jobs"].values())
    assert "${{ github.ref }}" in document["concurrency"]["group"]
