"""The official command line: those of its template commands that need no terminal and no Docker engine."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.js.node import Node

pytestmark = [pytest.mark.sdk, pytest.mark.root]

DOCKERFILE = """\
FROM e2bdev/base
ENV KIND=cli
WORKDIR /srv
COPY greeting .
RUN cat greeting && echo made > made
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "e2b.Dockerfile").write_text(DOCKERFILE)
    (folder / "greeting").write_text(f"hello {uuid.uuid4()}\n")
    return folder


@pytest.fixture
def template(node: Node, folder: Path) -> Iterator[str]:
    """The name of a template that the command line has built."""
    name = f"cli-{uuid.uuid4().hex[:12]}"
    shown = node.e2b(
        "template", "create", name, "--path", str(folder), "--cpu-count", "1", "--memory-mb", "512"
    )
    assert (folder / "greeting").read_text() in shown.stdout
    yield name
    node.e2b("template", "delete", name, "--yes", check=False)


def listed(node: Node) -> dict[str, dict[str, object]]:
    found = json.loads(node.e2b("template", "list", "--format", "json").stdout)
    return {name: template for template in found for name in template["aliases"]}


def test_create_and_list(node: Node, template: str) -> None:
    found = listed(node)
    assert (found[template]["cpuCount"], found[template]["memoryMB"]) == (1, 512)
    assert template in node.e2b("template", "list").stdout


def test_a_sandbox_runs_a_command(node: Node, template: str) -> None:
    created = node.e2b("sandbox", "create", template, "--detach")
    sandbox_id = next(word for word in created.stdout.split() if word.startswith("i") and len(word) == 20)
    try:
        shown = node.e2b("sandbox", "exec", sandbox_id, "cat made; pwd; echo $KIND")
        assert shown.stdout == "made\n/srv\ncli\n"
    finally:
        node.e2b("sandbox", "kill", sandbox_id)


def test_publish_and_unpublish(node: Node, template: str) -> None:
    assert f"Published as: {template}" in node.e2b("template", "publish", template, "--yes").stdout
    assert listed(node)[template]["public"] is True
    node.e2b("template", "unpublish", template, "--yes")
    assert listed(node)[template]["public"] is False


def test_delete(node: Node, template: str) -> None:
    node.e2b("template", "delete", template, "--yes")
    assert template not in listed(node)
    failed = node.e2b("template", "delete", template, "--yes", check=False)
    assert failed.returncode == 1
    assert "not found" in failed.stdout + failed.stderr


def test_a_dockerfile_that_fails(node: Node, folder: Path) -> None:
    (folder / "e2b.Dockerfile").write_text("FROM e2bdev/base\nRUN echo said; exit 3\n")
    name = f"cli-{uuid.uuid4().hex[:12]}"
    failed = node.e2b("template", "create", name, "--path", str(folder), check=False)
    assert failed.returncode == 1
    assert "Template build failed" in failed.stderr
    assert "said" in failed.stdout
