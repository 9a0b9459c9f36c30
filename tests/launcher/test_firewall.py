import ipaddress
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from berm.launcher import network
from berm.launcher.firewall import Firewall
from berm.launcher.policy import Policy, Redirect, networks

pytestmark = pytest.mark.root

_STRICT: dict[str, Any] = {
    "allow": ["203.0.113.2", "203.0.113.0/29"],
    "deny": ["0.0.0.0/0"],
    "closed": True,
    "resolvers": [],
    "redirect": "web",
    "untouched": ["203.0.113.2"],
}


@pytest.fixture
def firewall(plan: network.Plan) -> Iterator[Firewall]:
    wall = Firewall(plan, ["192.0.2.1"])
    wall.set_up()
    yield wall
    wall.tear_down()
    assert f"berm-{plan.instance}" not in _nft("list", "tables")


def _nft(*arguments: str) -> str:
    return subprocess.run(["nft", *arguments], capture_output=True, text=True, check=True).stdout


def _table(plan: network.Plan) -> str:
    return _nft("list", "table", "inet", f"berm-{plan.instance}")


def test_it_is_installed_twice_and_is_there_once(plan: network.Plan, firewall: Firewall) -> None:
    once = _table(plan)
    firewall.set_up()
    assert _table(plan) == once
    assert once.count("hook input") == 1


def test_the_host_forwards_for_many_neighbours() -> None:
    network.set_up_host()
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "1\n"
    assert int(Path("/proc/sys/net/ipv4/neigh/default/gc_thresh3").read_text()) >= 65536


def test_rules_of_one_sandbox_outlive_the_launcher_and_go_without_a_trace(
    plan: network.Plan, firewall: Firewall
) -> None:
    before = _table(plan)
    firewall.police(3, Policy.from_wire(_STRICT))
    policed = _table(plan)
    next_one = Firewall(plan, ["192.0.2.1"])
    next_one.set_up()
    assert next_one.policed() == {3}
    assert sorted(_table(plan).splitlines()) == sorted(policed.splitlines())
    next_one.release(3)
    next_one.release(3)
    assert next_one.policed() == frozenset()
    assert sorted(_table(plan).splitlines()) == sorted(before.splitlines())


def test_new_rules_replace_the_old_whole(plan: network.Plan, firewall: Firewall) -> None:
    firewall.police(3, Policy.from_wire(_STRICT))
    firewall.police(3, Policy())
    table = _table(plan)
    assert "203.0.113" not in table
    assert "redirect to" not in table
    assert table.count("chain egress-3 {") == 1


def test_a_change_that_fails_leaves_everything_as_it_was(plan: network.Plan, firewall: Firewall) -> None:
    firewall.police(3, Policy.from_wire(_STRICT))
    before = _table(plan)
    _nft("delete", "chain", "inet", f"berm-{plan.instance}", "prerouting")
    _nft("delete", "element", "inet", f"berm-{plan.instance}", "redirects", f"{{ {plan.address(3)} }}")
    _nft("delete", "map", "inet", f"berm-{plan.instance}", "redirects")
    with pytest.raises(OSError, match="nft"):
        firewall.police(3, Policy())
    firewall.set_up()
    firewall.police(3, Policy.from_wire(_STRICT))
    assert sorted(_table(plan).splitlines()) == sorted(before.splitlines())


@pytest.mark.parametrize("redirect", list(Redirect))
@pytest.mark.parametrize("allow", [[], ["0.0.0.0/0"], ["10.1.2.3/8", "10.0.0.0/9", "8.8.8.8"]])
def test_every_kind_of_policy_is_syntax_of_the_firewalls(
    firewall: Firewall, redirect: Redirect, allow: list[str]
) -> None:
    lists: dict[str, Any] = {name: networks(allow) for name in ("allow", "deny", "resolvers", "untouched")}
    firewall.police(5, Policy(redirect=redirect, **lists))
    firewall.police(5, Policy(redirect=redirect, closed=True, **lists))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("allow", ["0.0.0.0/0 } accept; ip daddr { 1.1.1.1"]),
        ("deny", ["::/0"]),
        ("untouched", ["example.com"]),
        ("redirect", "everything"),
    ],
)
def test_a_policy_is_parsed_before_it_reaches_the_firewall(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        Policy.from_wire({**_STRICT, field: value})


def test_a_policy_crosses_the_wire_unchanged() -> None:
    policy = Policy.from_wire(_STRICT)
    assert Policy.from_wire(policy.to_wire()) == policy


@pytest.mark.parametrize(
    ("address", "reached"), [("203.0.113.2", True), ("203.0.113.9", False), ("8.8.8.8", False)]
)
def test_what_is_allowed_wins_over_what_is_denied(address: str, reached: bool) -> None:
    assert Policy.from_wire(_STRICT).reaches(ipaddress.IPv4Address(address)) is reached
