import ipaddress
import os
import socket

import pytest

from berm.launcher import idmap, netlink, network
from tests.launcher import namespaces


def test_slots_have_addresses_and_ids_of_their_own(plan: network.Plan) -> None:
    slots = range(1, plan.slots)
    addresses = [address for slot in slots for address in (plan.address(slot), plan.host_address(slot))]
    assert len(set(addresses)) == len(addresses)
    assert all(ipaddress.IPv4Address(address) in plan.subnet for address in addresses)
    assert plan.first_id(2) - plan.first_id(1) == idmap.RANGE


def test_the_upper_half_of_the_slots_is_without_internet(plan: network.Plan) -> None:
    offline = [slot for slot in range(plan.slots) if not plan.internet(slot)]
    assert offline == list(range(plan.slots // 2, plan.slots))
    assert all(ipaddress.IPv4Address(plan.address(slot)) in plan.offline_subnet for slot in offline)


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("nameserver 192.0.2.1\nnameserver 192.0.2.2\n", ["192.0.2.1", "192.0.2.2"]),
        ("# nothing\nsearch example.org\n", ["1.1.1.1", "8.8.8.8"]),
        ("nameserver 127.0.0.53\noptions edns0\n", ["1.1.1.1", "8.8.8.8"]),
        ("nameserver 2001:db8::1\nnameserver 192.0.2.3\n", ["192.0.2.3"]),
        ("nameserver\n", ["1.1.1.1", "8.8.8.8"]),
    ],
)
def test_name_servers_that_a_sandbox_can_use(text: str, servers: list[str]) -> None:
    assert network.nameservers(text) == servers


@pytest.mark.root
def test_a_wired_namespace_reaches_only_the_host_end_and_vanishes_with_its_descriptors(
    plan: network.Plan,
) -> None:
    host, home = netlink.Netlink(), network.open_namespace()
    made = namespaces.fresh(plan.first_id(3))
    try:
        network.wire(plan, 3, made.net, host, home)
        assert network.devices(plan) == {3}
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # Nobody listens, and the refusal comes from inside: the wire carries packets both ways.
            assert probe.connect_ex((plan.address(3), 9)) == 111
    finally:
        made.close()
        host.send(netlink.delete(socket.if_nametoindex(plan.device(3))))
        host.close()
        os.close(home)
    assert network.devices(plan) == set()


def test_a_refused_request_names_the_error() -> None:
    link = netlink.Netlink()
    with pytest.raises(OSError, match=r"request 0: (ENODEV|EPERM)"):
        link.send(netlink.up(2**30))
    link.close()
