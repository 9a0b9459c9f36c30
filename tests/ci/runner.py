"""A stand-in for GitHub's runner: it runs a workflow's jobs for an event, by the rules of the documentation.

`run:` goes to a real bash with the files and variables that a runner gives, `uses: ./` to the composite
action of the checked-out repository. `actions/checkout` is a git clone of the same commit.
"""

import fnmatch
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.ci.expressions import condition, fill

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Event:
    name: str
    branch: str = "main"
    changed: tuple[str, ...] = ("e2b/Dockerfile",)


@dataclass(frozen=True)
class Step:
    """What became of a step."""

    name: str
    exit_code: int
    output: str
    environment: Mapping[str, str]
    script: str


@dataclass
class Job:
    name: str
    steps: list[Step] = field(default_factory=list)
    summary: str = ""

    @property
    def succeeded(self) -> bool:
        return all(step.exit_code == 0 for step in self.steps)

    @property
    def output(self) -> str:
        return "".join(step.output for step in self.steps)


def load(path: Path) -> Document:
    document: Document = YAML(typ="safe").load(path)
    return document


def triggered(workflow: Document, event: Event) -> bool:
    """Whether `on:` lets the event start the workflow."""
    filters = workflow["on"].get(event.name)
    if filters is None:
        return False
    branches, paths = filters.get("branches", ["**"]), filters.get("paths", ["**"])
    return _matches(event.branch, branches) and any(_matches(path, paths) for path in event.changed)


def _matches(text: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(text, pattern.replace("**", "*")) for pattern in patterns)


@dataclass
class Runner:
    """One machine: `repository` is what checkout clones, `work` a directory for everything else."""

    repository: Path
    work: Path
    machine: Mapping[str, str]
    """The environment that the machine itself gives, with PATH."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)

    def run(self, workflow: Path, event: Event) -> dict[str, Job]:
        """Run the jobs whose conditions hold; none if the event does not start the workflow."""
        document = load(workflow)
        if not triggered(document, event):
            return {}
        contexts = self._contexts(event)
        jobs = document["jobs"].items()
        return {
            name: self._job(name, job, contexts)
            for name, job in jobs
            if condition(job.get("if", "true"), contexts)
        }

    def _contexts(self, event: Event) -> dict[str, Any]:
        commit = git(self.repository, "rev-parse", event.branch)
        github = {
            "event_name": event.name,
            "ref": f"refs/heads/{event.branch}",
            "sha": commit,
            "actor": "octocat",
        }
        return {
            "github": github,
            "secrets": self.secrets,
            "vars": self.variables,
            "runner": {"temp": str(self.work / "temp")},
        }

    def _job(self, name: str, job: Document, contexts: dict[str, Any]) -> Job:
        workspace = self.work / name
        for directory in (workspace, self.work / "temp", self.work / "home"):
            directory.mkdir(parents=True, exist_ok=True)
        running = _Running(self, contexts, workspace, Job(name))
        for step in job["steps"]:
            if not running.job.succeeded:
                break
            running.step(step)
        return running.job


@dataclass
class _Running:
    runner: Runner
    contexts: dict[str, Any]
    workspace: Path
    job: Job

    def step(self, step: Document) -> None:
        if not condition(step.get("if", "true"), self.contexts):
            return
        if "run" in step:
            self._run(step)
        elif step["uses"].startswith("actions/checkout@"):
            self._checkout(step)
        else:
            self._composite(step)

    def _checkout(self, step: Document) -> None:
        # The real action leaves a token in .git/config unless it is told otherwise.
        assert step["with"]["persist-credentials"] is False
        git(self.workspace, "clone", "--quiet", str(self.runner.repository), ".")
        git(self.workspace, "checkout", "--quiet", self.contexts["github"]["sha"])

    def _composite(self, step: Document) -> None:
        assert step["uses"].startswith("./"), step["uses"]
        folder = self.workspace / step["uses"]
        action = load(folder / "action.yml")
        given = {name: self._filled(value) for name, value in step.get("with", {}).items()}
        assert given.keys() <= action["inputs"].keys()
        defaults = {name: self._filled(one.get("default", "")) for name, one in action["inputs"].items()}
        inside = {
            # A composite action sees no secrets, only its inputs.
            **{name: value for name, value in self.contexts.items() if name not in ("secrets", "vars")},
            "inputs": {**defaults, **given},
            "github": {**self.contexts["github"], "action_path": str(folder)},
        }
        running = _Running(self.runner, inside, self.workspace, self.job)
        for inner in action["runs"]["steps"]:
            if self.job.succeeded:
                running.step(inner)

    def _filled(self, value: object) -> str:
        return fill(str(value).lower() if isinstance(value, bool) else str(value), self.contexts)

    def _run(self, step: Document) -> None:
        script = fill(step["run"], self.contexts)
        files = {name: self.runner.work / "temp" / name for name in ("script", "summary")}
        files["script"].write_text(script)
        files["summary"].touch()
        environment = {
            **self._environment(files["summary"]),
            **_filled_all(step.get("env", {}), self.contexts),
        }
        options = ["--noprofile", "--norc", "-eo", "pipefail"] if step.get("shell") == "bash" else ["-e"]
        done = subprocess.run(
            ["bash", *options, str(files["script"])],
            cwd=self.workspace,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        name = step.get("name", step["run"])
        self.job.steps.append(Step(name, done.returncode, done.stdout, environment, script))
        self.job.summary += files["summary"].read_text()
        files["summary"].unlink()

    def _environment(self, summary: Path) -> dict[str, str]:
        github = self.contexts["github"]
        return {
            **self.runner.machine,
            "HOME": str(self.runner.work / "home"),
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTOR": github["actor"],
            "GITHUB_EVENT_NAME": github["event_name"],
            "GITHUB_REF": github["ref"],
            "GITHUB_SHA": github["sha"],
            "GITHUB_STEP_SUMMARY": str(summary),
            "GITHUB_WORKSPACE": str(self.workspace),
            "RUNNER_TEMP": self.contexts["runner"]["temp"],
        }


def _filled_all(values: Document, contexts: Mapping[str, Any]) -> dict[str, str]:
    return {name: fill(str(value), contexts) for name, value in values.items()}


def git(folder: Path, *args: str) -> str:
    command = ["git", "-C", str(folder), *args]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=_git_environment())
    return done.stdout.strip()


def _git_environment() -> dict[str, str]:
    """Git as on a machine where nobody has set it up, with a name to commit under."""
    people = {
        f"GIT_{role}_{part}": "octocat" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")
    }
    quiet = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    return {"PATH": os.environ["PATH"], **people, **quiet}


def repository(folder: Path, files: Mapping[str, bytes]) -> Path:
    """A new git repository whose branch main has one commit with these files."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "A template")
    return folder


def tracked(folder: Path, root: Path) -> Iterator[tuple[str, bytes]]:
    """The files below a folder, by their paths from `root`."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(root)), path.read_bytes()
