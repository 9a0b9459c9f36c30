"""The official SDK over TLS, by the names of a domain, as a program on another machine uses it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.instance import Instance, over_tls
from tests.sdk.test_ports import WEB

PROGRAM = """
import asyncio, json, sys
import httpx
from e2b import AsyncSandbox, ConnectionConfig, Sandbox

WEB = sys.stdin.read()
STARTED = "python3 server.py > out & until grep -q ready out; do :; done"

def sync():
    sandbox = Sandbox.create(timeout=120)
    sandbox.files.write("server.py", WEB)
    sandbox.commands.run(STARTED)
    answer = httpx.get(f"https://{sandbox.get_host(8000)}/a").json()
    link = sandbox.download_url("server.py")
    read = httpx.get(link).text == WEB
    over = httpx.get(sandbox.download_url("server.py", use_signature_expiration=-60)).status_code
    upload = sandbox.upload_url("sent.txt", use_signature_expiration=60)
    sent = httpx.post(upload, files={"file": ("any", b"sent")}).status_code
    read = read and sandbox.files.read("sent.txt") == "sent" and (over, sent) == (401, 200)
    seen = {"host": sandbox.get_host(8000), "asked": answer, "link": link, "read": read}
    return {**seen, "gone": sandbox.kill()}

async def other():
    sandbox = await AsyncSandbox.create(timeout=120)
    output = (await sandbox.commands.run("echo in")).stdout
    return {"output": output, "running": await sandbox.is_running(), "gone": await sandbox.kill()}

def insecure():
    # Nothing is signed, and nothing is checked. The newest SDK makes no such sandbox, but connects to it.
    config = ConnectionConfig()
    body, headers = {"templateID": "base", "secure": False}, {"X-API-Key": config.api_key}
    made = httpx.post(f"{config.api_url}/sandboxes", json=body, headers=headers).json()
    sandbox = Sandbox.connect(made["sandboxID"])
    sent = httpx.post(sandbox.upload_url("a"), files={"file": ("any", b"sent")}).status_code
    link = sandbox.download_url("a")
    return {"sent": sent, "signed": "signature" in link, "read": httpx.get(link).text, "gone": sandbox.kill()}

print(json.dumps([sync(), asyncio.run(other()), insecure()]))
"""


@pytest.fixture
def remote(berm: Instance, tmp_path: Path) -> Iterator[dict[str, str]]:
    with over_tls(berm, tmp_path) as env:
        yield env


def test_both_halves_of_the_sdk(remote: dict[str, str]) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("E2B_", "BERM_"))}
    env = {**clean, **remote, "SSL_CERT_FILE": remote["CA"]}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=WEB, env=env, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first, second, third = json.loads(done.stdout)
    assert first["host"].endswith(remote["E2B_DOMAIN"])
    assert first["link"].startswith("https://49983-")
    assert (first["asked"]["path"], first["read"], first["gone"]) == ("/a", True, True)
    assert second == {"output": "in\n", "running": True, "gone": True}
    assert third == {"sent": 200, "signed": False, "read": "sent", "gone": True}
