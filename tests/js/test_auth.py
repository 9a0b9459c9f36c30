"""The commands of the official command line about who one is: a key is all it takes."""

import base64
import dataclasses
import json
from pathlib import Path

import pytest

from tests.js.node import Node

pytestmark = [pytest.mark.sdk, pytest.mark.root]

BROWSER = """\
#!/bin/sh
exec curl --silent --location "$1" > "$HOME/page"
"""


@pytest.fixture
def browser(node: Node, tmp_path: Path) -> Node:
    """The command line on a machine with a browser, which keeps what it was shown last."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/xdg-open").write_text(BROWSER)
    (tmp_path / "bin/xdg-open").chmod(0o755)
    return dataclasses.replace(node, env={**node.env, "PATH": f"{tmp_path / 'bin'}:{node.env['PATH']}"})


def test_nobody_is_logged_in(node: Node) -> None:
    assert "Not logged in" in node.e2b("auth", "info").stdout
    assert "Not logged in, nothing to do" in node.e2b("auth", "logout").stdout
    assert "No user config found" in node.e2b("auth", "configure").stdout


def test_a_login_of_the_hosted_service_is_refused_with_a_reason(node: Node, tmp_path: Path) -> None:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": 1 << 40}).encode()).decode().rstrip("=")
    config = {
        "version": 2,
        "identity": {"email": "someone@example.org"},
        "oauth": {"token_endpoint": node.env["E2B_API_URL"], "revoke_endpoint": "", "client_id": "cli"},
        "tokens": {"access_token": f"eyJh.{claims}.c2ln", "refresh_token": "none"},
        "last_refresh": "2026-01-01T00:00:00Z",
        "projectName": "default",
        "projectId": "none",
        "projectApiKey": "",
    }
    (tmp_path / ".e2b").mkdir()
    (tmp_path / ".e2b/config.json").write_text(json.dumps(config))
    without = {name: value for name, value in node.env.items() if name != "E2B_API_KEY"}
    failed = dataclasses.replace(node, env=without).e2b("auth", "configure", check=False)
    assert failed.returncode == 1
    assert "which has no login in a browser" in failed.stderr


def test_a_login_fails_and_says_what_to_do(browser: Node, tmp_path: Path) -> None:
    failed = browser.e2b("auth", "login", check=False)
    assert failed.returncode == 1
    said = "this server has no login in a browser (set E2B_API_KEY to one of its keys"
    assert said in failed.stderr
    assert not (tmp_path / ".e2b/config.json").exists()


def test_the_key_alone_is_enough(node: Node) -> None:
    assert node.e2b("sandbox", "list", "--format", "json").returncode == 0
    without = {name: value for name, value in node.env.items() if name != "E2B_API_KEY"}
    refused = dataclasses.replace(node, env=without).e2b("sandbox", "list", check=False)
    assert refused.returncode == 1
    assert "E2B_API_KEY" in refused.stdout + refused.stderr
