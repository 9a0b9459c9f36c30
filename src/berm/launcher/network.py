"""The network of sandboxes: addresses, and the wire into each namespace."""

import ipaddress
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from berm.launcher import idmap, netlink, syscalls

_NEIGHBOURS = {"gc_thresh3": 65536, "gc_thresh2": 32768, "gc_thresh1": 16384}
"""Entries in the kernel's one table of neighbours (arp(7)), of which each sandbox takes two; usually 1024."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How addresses and names are given out. Slot N has two, the host's and the sandbox's (RFC 3021).

    The upper half of the slots is for sandboxes without internet, so one static rule covers them all.
    """

    instance: str
    subnet: ipaddress.IPv4Network
    uid_base: int

    @property
    def slots(self) -> int:
        return self.subnet.num_addresses // 2

    @property
    def offline_from(self) -> int:
        return self.slots // 2

    @property
    def offline_subnet(self) -> ipaddress.IPv4Network:
        return list(self.subnet.subnets(1))[1]

    @property
    def prefix(self) -> str:
        """What the names of this instance's network devices begin with."""
        return f"bm{self.instance}-"

    def device(self, slot: int) -> str:
        return f"{self.prefix}{slot}"

    def host_address(self, slot: int) -> str:
        return str(self.subnet[2 * slot])

    def address(self, slot: int) -> str:
        return str(self.subnet[2 * slot + 1])

    def first_id(self, slot: int) -> int:
        return self.uid_base + slot * idmap.RANGE

    def internet(self, slot: int) -> bool:
        return slot < self.offline_from


def nameservers(text: str) -> list[str]:
    """The IPv4 name servers of a resolv.conf(5) that a sandbox can use; public ones if there are none."""
    words = [line.split() for line in text.splitlines()]
    found = [w[1] for w in words if len(w) > 1 and w[0] == "nameserver" and not w[1].startswith("127.")]
    return [server for server in found if "." in server] or ["1.1.1.1", "8.8.8.8"]


def set_up_host() -> None:
    """Let the host forward, for many neighbours. Safe to call again."""
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    for name, least in _NEIGHBOURS.items():
        _raise(Path("/proc/sys/net/ipv4/neigh/default", name), least)


def _raise(setting: Path, least: int) -> None:
    if int(setting.read_text()) < least:
        setting.write_text(str(least))


def wire(plan: Plan, slot: int, namespace: int, host: netlink.Netlink, home: int) -> None:
    """Join a network namespace to the host. `home` is the host's own network namespace; both are open."""
    device = plan.device(slot)
    host.send(netlink.veth(device, "eth0", namespace))
    index = socket.if_nametoindex(device)
    host.send(
        netlink.no_link_local(index), netlink.address(index, plan.host_address(slot), 31), netlink.up(index)
    )
    syscalls.setns(namespace, syscalls.CLONE_NEWNET)
    try:
        _wire_inside(plan, slot)
    finally:
        syscalls.setns(home, syscalls.CLONE_NEWNET)


def _wire_inside(plan: Plan, slot: int) -> None:
    inside = netlink.Netlink()
    try:
        loopback, index = socket.if_nametoindex("lo"), socket.if_nametoindex("eth0")
        inside.send(
            netlink.up(loopback),
            netlink.no_link_local(index),
            netlink.address(index, plan.address(slot), 31),
            netlink.up(index),
            netlink.default_route(index, plan.host_address(slot)),
        )
    finally:
        inside.close()
    # Every user of a sandbox may ping and may listen on any port, as in a machine of its own.
    for name, value in (("ping_group_range", "0 2147483647"), ("ip_unprivileged_port_start", "0")):
        Path("/proc/sys/net/ipv4", name).write_text(value)


def devices(plan: Plan) -> set[int]:
    """The slots whose device exists on the host now."""
    names = (name for _, name in socket.if_nameindex() if name.startswith(plan.prefix))
    return {int(name.removeprefix(plan.prefix)) for name in names}


def open_namespace() -> int:
    """The calling process's network namespace, open."""
    return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
