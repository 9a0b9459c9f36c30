"""`berm key` with a real server: a key works until it is deleted."""

import json
import subprocess

from tests.instance import BERM, Instance


def listing(berm: Instance, key: str) -> subprocess.CompletedProcess[str]:
    env = {**berm.env, "E2B_API_KEY": key}
    command = [BERM, "sandbox", "list"]
    return subprocess.run(command, env=env, text=True, capture_output=True, check=False)


def test_a_key_works_until_it_is_deleted(berm: Instance) -> None:
    made = json.loads(berm.berm("key", "create", "ci", "--json").stdout)
    assert listing(berm, made["key"]).returncode == 0
    keys = berm.berm("key", "list").stdout
    assert made["id"] in keys
    assert made["key"] not in keys
    (shown,) = [
        key for key in json.loads(berm.berm("key", "list", "--json").stdout) if key["id"] == made["id"]
    ]
    assert shown["name"] == "ci"
    assert shown["lastUsed"]
    berm.berm("key", "delete", made["id"])
    refused = listing(berm, made["key"])
    assert refused.returncode == 77
    assert refused.stderr.startswith("error: ")
    assert "hint: " in refused.stderr
    assert made["id"] not in berm.berm("key", "list").stdout


def test_a_key_alone_on_stdout(berm: Instance) -> None:
    key = berm.berm("key", "create", "plain").stdout
    assert key.startswith("e2b_")
    assert listing(berm, key.strip()).returncode == 0


def test_a_key_that_is_not_there(berm: Instance) -> None:
    done = berm.berm("key", "delete", "no-such-key", check=False)
    assert done.returncode == 66
    assert done.stderr.startswith("error: ")


def test_the_last_key_still_works_after_the_others_have_gone(berm: Instance) -> None:
    for key in json.loads(berm.berm("key", "list", "--json").stdout):
        if key["name"] in ("ci", "plain"):
            berm.berm("key", "delete", key["id"])
    assert listing(berm, berm.key).returncode == 0
