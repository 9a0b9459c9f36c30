"""`berm sandbox pause | resume | fork` and `berm snapshot` with a real server."""

import json

from tests.instance import Instance


def out(berm: Instance, *arguments: str) -> str:
    return berm.berm(*arguments).stdout.strip()


def state(berm: Instance, sandbox: str) -> str:
    return str(json.loads(out(berm, "sandbox", "info", sandbox, "--json"))["state"])


def test_paused_and_resumed(berm: Instance, sandbox: str) -> None:
    out(berm, "sandbox", "exec", sandbox, "echo kept > /home/user/file")
    out(berm, "sandbox", "pause", sandbox)
    assert state(berm, sandbox) == "paused"
    again = berm.berm("sandbox", "pause", sandbox, check=False)
    assert "is paused already" in again.stderr
    assert out(berm, "sandbox", "resume", sandbox, "--timeout", "60") == sandbox
    out(berm, "sandbox", "pause", sandbox, "--files-only")
    out(berm, "sandbox", "resume", sandbox, "--reboot")
    assert out(berm, "sandbox", "exec", sandbox, "cat /home/user/file") == "kept"


def test_one_that_pauses_and_wakes_up_by_itself(berm: Instance) -> None:
    made = out(berm, "sandbox", "create", "--on-timeout", "pause", "--auto-resume")
    detail = json.loads(out(berm, "sandbox", "info", made, "--json"))
    assert detail["lifecycle"] == {"onTimeout": "pause", "autoResume": True}
    out(berm, "sandbox", "pause", made)
    assert out(berm, "sandbox", "exec", made, "echo awake") == "awake"
    out(berm, "sandbox", "kill", made)


def test_snapshots_and_forks(berm: Instance, sandbox: str) -> None:
    out(berm, "sandbox", "exec", sandbox, "echo kept > /home/user/file")
    snapshot = out(berm, "snapshot", "create", sandbox)
    assert snapshot in out(berm, "snapshot", "list", "--sandbox", sandbox)
    begun = out(berm, "sandbox", "create", snapshot)
    forks = out(berm, "sandbox", "fork", sandbox, "--count", "2").split()
    for made in (begun, *forks):
        assert out(berm, "sandbox", "exec", made, "cat /home/user/file") == "kept"
    out(berm, "sandbox", "kill", begun, *forks)
    out(berm, "snapshot", "delete", snapshot)
    assert json.loads(out(berm, "snapshot", "list", "--sandbox", sandbox, "--json")) == []
