"""The official JavaScript SDK builds, tags and deletes templates."""

import uuid
from pathlib import Path

import pytest

from tests.js.node import Node

pytestmark = [pytest.mark.sdk, pytest.mark.root]


@pytest.fixture
def name() -> str:
    return f"js-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "src/deep").mkdir(parents=True)
    (tmp_path / "src/deep/file").write_text("deep\n")
    (tmp_path / "src/left.log").write_text("ignored\n")
    for text in ("a.txt", "b.txt"):
        (tmp_path / text).write_text(text)
    return tmp_path


def test_a_template_is_built_and_started(node: Node, name: str, context: Path) -> None:
    done = node.run("build.mjs", name, str(context))
    assert done["output"].splitlines() == [
        "root",
        "/opt/app",
        "green green-blue",
        "/opt/app",
        "user",
        "a.txt",
        "b.txt",
        "user:root 750",
        "deep",
        "/opt/who",
        "/tmp/started",
        "1",
    ]
    assert (done["cpu"], done["memory"]) == (1, 512)
    assert done["built"]["name"] == name
    assert "extra" in done["built"]["tags"]
    messages = [entry["message"] for entry in done["logs"]]
    assert any("RUN id -un > /opt/who" in message for message in messages), messages


def test_a_build_in_the_background_is_followed(node: Node, name: str) -> None:
    done = node.run("background.mjs", name)
    assert (done["before"], done["after"], done["left"], done["deleted"]) == (
        False,
        True,
        False,
        [True, False],
    )
    assert done["states"][-1] == "ready"
    assert set(done["states"]) <= {"waiting", "building", "ready"}
    printed = [line for line in done["lines"] if line.startswith("line ")]
    assert printed == [f"line {number}" for number in range(1, 251)]


def test_tags(node: Node, name: str) -> None:
    done = node.run("tags.mjs", name)
    first, second = done["first"]["buildId"], done["second"]["buildId"]
    assert done["assigned"] == {"buildId": first, "tags": ["stable", "v1.0.0"]}
    assert {tag: build for tag, build, _ in done["listed"]} == {
        "one": first,
        "v1.0.0": first,
        "two": second,
        "stable": second,
    }
    assert all(is_date for _, _, is_date in done["listed"])
    assert set(done["left"]) == {"v1.0.0", "two"}
    expected = (
        "has no tag 'none'",
        "Not a tag",
        "'no-such-template' not found",
        "'no-such-template' not found",
    )
    for failure, message in zip(done["failures"], expected, strict=True):
        assert failure.startswith("TemplateError: "), failure
        assert message in failure


def test_what_cannot_be_built_raises_a_build_error(node: Node, name: str, context: Path) -> None:
    failures = node.run("fails.mjs", name, str(context))
    assert all(failure.startswith("BuildError: ") for failure in failures.values()), failures
    assert "exit status 7" in failures["command"]
    assert "invalid username: 'nobody-knows'" in failures["user"]
    assert "'no-such-template' not found" in failures["base"]
    assert "/etc/passwd" in failures["copy"]
