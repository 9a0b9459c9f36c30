"""Template folders written by tests, and their builds by the command line."""

import json
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.instance import Instance

BASE = "e2bdev/base"


@dataclass(frozen=True)
class Folder:
    """A template folder and the berm that it is built on."""

    berm: Instance
    path: Path
    name: str
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    """For a comment in a step that no other test, of this run or another, may have built."""

    def write(self, dockerfile: str, files: Mapping[str, str] | None = None, toml: str = "") -> None:
        self.path.mkdir(exist_ok=True)
        for name, content in {"Dockerfile": dockerfile, **(files or {})}.items():
            target = self.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
        (self.path / "e2b.toml").write_text(f'name = "{self.name}"\ndockerfile = "Dockerfile"\n{toml}')

    def build(self, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = self.berm.berm("template", "build", str(self.path), *options, check=False)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def fails(self, *options: str) -> str:
        """What a build that has to fail says."""
        done = self.build(*options, check=False)
        assert done.returncode == 1, done.stdout + done.stderr
        return done.stdout + done.stderr

    def newest(self) -> dict[str, Any]:
        """The newest build, with its steps."""
        builds = json.loads(self.berm.berm("template", "builds", self.name, "--json").stdout)
        info = self.berm.berm("template", "info", f"{self.name}:{builds[0]['number']}", "--json")
        found: dict[str, Any] = json.loads(info.stdout)
        return found

    def cached(self) -> list[bool]:
        """Of the newest build's steps that make layers, whether each came from the cache."""
        return [step["cached"] for step in self.newest()["steps"] if step["key"]]

    def run(self, command: str, template: str = "") -> str:
        """The output of a command in a new sandbox."""
        sandbox_id = self.berm.berm("sandbox", "create", template or self.name).stdout.strip()
        try:
            return self.berm.berm("sandbox", "exec", sandbox_id, "--", "sh", "-c", command).stdout
        finally:
            self.berm.berm("sandbox", "kill", sandbox_id)
