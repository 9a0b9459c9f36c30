"""Which names and addresses the lists cover, and what of them the firewall is told."""

import asyncio
import ipaddress
import threading

import pytest

from berm.launcher.policy import Redirect
from berm.models import EVERYWHERE, Egress
from berm.node.egress import dial, lists, names
from berm.node.egress.judge import Asked, Judge


@pytest.mark.parametrize(
    ("pattern", "name", "covered"),
    [
        ("example.com", "example.com", True),
        ("Example.COM.", "eXample.com", True),
        ("example.com", "example.com.", True),
        ("example.com", "www.example.com", False),
        ("example.com", "badexample.com", False),
        ("*.example.com", "www.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", ".example.com", False),
        ("*.example.com", "badexample.com", False),
        ("*", "anything.at.all", True),
    ],
)
def test_what_a_pattern_covers(pattern: str, name: str, covered: bool) -> None:
    assert names.matches(pattern, name) is covered


@pytest.mark.parametrize(
    "text", ["example.com", "*.example.com", "*", "localhost", "xn--mller-kva.de", "a_b.c"]
)
def test_a_pattern(text: str) -> None:
    assert names.is_pattern(text)


@pytest.mark.parametrize(
    "text",
    [
        *". a..b -a.com a-.com a/b a:80 *a.com a.*.com 1.2.3 1.2.3.4 ::1 müller.de http://a.com".split(),
        *("", "a b", "a\n", "x" * 64, "a." * 127 + "com"),
    ],
)
def test_no_pattern(text: str) -> None:
    assert not names.is_pattern(text)


def test_names_close_all_else_and_are_looked_for() -> None:
    policy = lists.policy(Egress(("example.com", "203.0.113.2")))
    assert (policy.closed, policy.redirect) == (True, Redirect.WEB)
    assert policy.untouched == policy.allow
    assert policy.asks(ipaddress.IPv4Address("10.0.0.53"))


def test_addresses_close_nothing_by_themselves() -> None:
    policy = lists.policy(Egress(("203.0.113.2",)))
    assert (policy.closed, policy.redirect) == (False, Redirect.NONE)


@pytest.mark.parametrize(
    ("egress", "asked"),
    [
        (Egress(), True),
        (Egress(deny_out=(EVERYWHERE,)), False),
        (Egress(deny_out=("10.0.0.0/8",)), False),
        (Egress(("10.0.0.53",), (EVERYWHERE,)), True),
        (Egress(("example.com",), (EVERYWHERE,)), True),
        (Egress(("example.com",), dns_servers=()), False),
        (Egress(("example.com",), dns_servers=("8.8.8.8",)), False),
        (Egress(("example.com",), dns_servers=("10.0.0.53",)), True),
        (Egress(dns_servers=()), True),
    ],
)
def test_who_may_ask_the_host_s_name_server(egress: Egress, asked: bool) -> None:
    assert lists.policy(egress).asks(ipaddress.IPv4Address("10.0.0.53")) is asked


@pytest.mark.parametrize(
    ("port", "name", "host"),
    [
        (80, "example.com", "example.com"),
        (443, "EXAMPLE.com.", "example.com"),
        (443, "other.com", None),
        (8080, "example.com", None),
        (80, None, None),
        (80, "*", None),
        (80, "203.0.113.2", None),
    ],
)
def test_a_name_counts_on_the_ports_of_the_web(port: int, name: str | None, host: str | None) -> None:
    target = Judge(Egress(("example.com",))).target(Asked("203.0.113.2", port, name))
    assert (target and target.host) == host


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "0.0.0.0", "224.0.0.1", "255.255.255.255"]
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not dial.is_public(address)


async def test_only_public_addresses_of_a_name_are_used() -> None:
    known = {"mixed": ["10.0.0.1", "203.0.113.9", "127.0.0.1"], "near": ["10.0.0.1"]}
    resolver = dial.Resolver("team", lambda name: known[name])
    assert await resolver.addresses("mixed") == ["203.0.113.9"]
    with pytest.raises(dial.RefusedError, match="no public address"):
        await resolver.addresses("near")
    with pytest.raises(dial.RefusedError, match="not a public address"):
        await dial.connect("192.168.0.1", 80, resolver)


@pytest.mark.parametrize(("sandboxes", "at_once"), [(1, 4), (30, 16)])
async def test_names_that_never_answer_leave_others_room(sandboxes: int, at_once: int) -> None:
    """Many sandboxes of a team ask for names of a server that it runs itself, and that says nothing."""
    asked, go = threading.Semaphore(0), threading.Event()

    def silent(_name: str) -> list[str]:
        asked.release()
        go.wait()
        return ["203.0.113.1"]

    slow = [dial.Resolver("slow", silent) for _ in range(sandboxes)]
    quick = dial.Resolver("quick", lambda _: ["203.0.113.2"])
    waiting = [asyncio.ensure_future(one.addresses(f"{name}.test")) for one in slow for name in range(9)]
    try:
        for _ in range(at_once):
            await asyncio.to_thread(asked.acquire)
        assert await quick.addresses("other.test") == ["203.0.113.2"]
        assert not asked.acquire(blocking=False)
    finally:
        go.set()
    assert await asyncio.gather(*waiting) == [["203.0.113.1"]] * 9 * sandboxes


async def test_who_no_longer_waits_for_a_name_takes_no_room() -> None:
    go = threading.Event()

    def late(_name: str) -> list[str]:
        go.wait()
        return ["203.0.113.1"]

    resolvers = [dial.Resolver("one", late) for _ in range(9)]
    waiting = [asyncio.ensure_future(one.addresses("a.test")) for one in resolvers for _ in range(9)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    go.set()
    for resolver in resolvers:
        assert await resolver.addresses("a.test") == ["203.0.113.1"]
