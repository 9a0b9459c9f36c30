import json

from tests.cli.conftest import Berm


def test_the_report_and_the_exit_code_agree(berm: Berm) -> None:
    done = berm("doctor", "--json")
    checks = json.loads(done.stdout)
    assert {"name", "found", "wanted", "level", "fix"} == set(checks[0])
    assert done.returncode == int(any(check["level"] == "fail" for check in checks))


def test_without_a_single_program_it_fails_and_says_what_to_install(berm: Berm) -> None:
    berm.environ["PATH"] = "/nonexistent"
    done = berm("doctor")
    assert done.returncode == 1
    row = next(row for row in done.stdout.decode().splitlines() if row.startswith("nft "))
    assert row.split()[1:3] == ["not", "found"]
    assert row.endswith("apt-get install nftables")


def test_up_refuses_a_machine_that_lacks_something(berm: Berm) -> None:
    berm.environ["PATH"] = "/nonexistent"
    done = berm("up")
    assert done.returncode == 78
    lines = done.stderr.decode().splitlines()
    assert any(line.startswith("nft: found not found") for line in lines)
    assert any(line.startswith("names: found 8000-sandbox.localhost does not resolve") for line in lines)
    assert lines[-1] == "hint: `berm doctor` shows every requirement"
