"""The official clients, newest and the two releases before, and a program for each that uses all of it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version as installed
from pathlib import Path
from typing import Protocol

from tests.js.node import NODE, install

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"

OLDER = {
    "2.60.0": "d4647a707ff41241f0351f26f51ff99616f6b213235bd58f236e39ebe29d8c4d",
    "2.61.0": "8851b9d62e844f52fbcea14150ed13d567c8c3e4bebb8f3d353e2d95e8c913de",
}
"""Older releases of the Python SDK, and the SHA-256 of each. All need the same packages as the newest."""

Results = dict[str, str]
"""What became of each step: `ok`, `lacks` where the client has no such thing, or the error."""


class Run(Protocol):
    def __call__(self, env: dict[str, str]) -> Results: ...


@dataclass(frozen=True)
class Client:
    """A release of a client; `run` uses all of it against the server that the environment names."""

    kind: str
    version: str
    run: Run

    @property
    def name(self) -> str:
        return f"{self.kind} {self.version}"


def clients(directory: Path) -> Iterator[Client]:
    """All of them, with what has to be installed put into `directory`."""
    for version in (*OLDER, installed("e2b")):
        packages = _python(directory / f"e2b-{version}", version) if version in OLDER else None
        for half in ("sync", "async"):
            yield Client(f"Python, {half}", version, partial(_run_python, half, packages))
    yield from _node_clients(directory / "node")


def _node_clients(directory: Path) -> Iterator[Client]:
    directory.mkdir(exist_ok=True)
    install(directory)
    shutil.copy(PROGRAMS / "everything.mjs", directory)
    wanted = json.loads((directory / "package.json").read_text())["dependencies"]
    for name, version in sorted(wanted.items(), key=lambda item: _numbers(item[1])):
        package, bare = directory / "node_modules" / name, version.rpartition("@")[2]
        if "cli" in name:
            yield Client("CLI", bare, partial(_run_cli, package / "dist/index.js"))
        else:
            yield Client("JavaScript", bare, partial(_run_javascript, directory, name))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.rpartition("@")[2].split(".")))


def _python(directory: Path, version: str) -> Path:
    """One wheel beside the newest one's packages; its directory goes first."""
    wanted = directory.with_suffix(".txt")
    wanted.write_text(f"e2b=={version} --hash=sha256:{OLDER[version]}\n")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--requirement", str(wanted), "--target", str(directory)]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return directory


def _last_line(command: list[str], env: dict[str, str], cwd: Path | None = None) -> Results:
    done = subprocess.run(command, env=env, cwd=cwd, text=True, capture_output=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    results: Results = json.loads(done.stdout.splitlines()[-1])
    return results


def _run_python(half: str, packages: Path | None, env: dict[str, str]) -> Results:
    before = {"PYTHONPATH": str(packages)} if packages else {}
    return _last_line([sys.executable, str(PROGRAMS / "everything.py"), half], {**env, **before})


def _run_javascript(directory: Path, package: str, env: dict[str, str]) -> Results:
    return _last_line([str(NODE), "everything.mjs", package], env, directory)


def _run_cli(program: Path, env: dict[str, str]) -> Results:
    with tempfile.TemporaryDirectory() as home:
        path = f"{NODE.parent}:{os.environ['PATH']}"
        # Older releases ask for an access token beside the key; berm takes the key for both.
        own = {"HOME": home, "PATH": path, "NO_COLOR": "1", "E2B_ACCESS_TOKEN": env["E2B_API_KEY"]}
        cli = _Cli(program, {**env, **own}, Path(home))
        return cli.everything()


@dataclass
class _Cli:
    program: Path
    env: dict[str, str]
    home: Path

    def everything(self) -> Results:
        """Its commands that need neither a terminal nor a browser, each with what it said when it failed."""
        results: Results = {}
        (self.home / "Dockerfile").write_text("FROM e2bdev/base\nRUN true\n")
        created = self._call("sandbox create base --detach")
        sandbox = next(word for word in created.stdout.split() if word.startswith("i") and len(word) == 20)
        template = f"cli-{uuid.uuid4().hex[:12]}"
        for line in COMMANDS:
            done = self._call(line.format(sandbox=sandbox, template=template))
            results[line] = "ok" if done.returncode == 0 else _why(done)
        return results

    def _call(self, line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [NODE, self.program, *line.split()],
            env=self.env,
            cwd=self.home,
            text=True,
            capture_output=True,
            check=False,
            timeout=110,
        )


def _why(done: subprocess.CompletedProcess[str]) -> str:
    text = " ".join((done.stdout + done.stderr).split())
    return "lacks" if "unknown command" in text else text


COMMANDS = (
    "sandbox list --format json",
    "sandbox info {sandbox}",
    "sandbox exec {sandbox} true",
    "sandbox logs {sandbox} --format json",
    "sandbox metrics {sandbox} --format json",
    "sandbox pause {sandbox}",
    "sandbox resume {sandbox}",
    "sandbox snapshot create {sandbox}",
    "sandbox snapshot list",
    "sandbox kill {sandbox}",
    "template create {template}",
    "template list --format json",
    "template publish {template} --yes",
    "template unpublish {template} --yes",
    "template delete {template} --yes",
    "auth info",
)
