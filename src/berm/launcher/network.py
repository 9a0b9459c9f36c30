"""The network of sandboxes: addresses, the host's firewall, and the wire into each namespace."""

import ipaddress
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from berm.launcher import idmap, netlink, programs, syscalls

# What a sandbox may never reach through the host: the special-purpose blocks of RFC 6890 that route anywhere.
_NOT_PUBLIC = (
    "0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, "
    "192.0.0.0/24, 192.168.0.0/16, 198.18.0.0/15, 224.0.0.0/3"
)

_NEIGHBOURS = {"gc_thresh3": 65536, "gc_thresh2": 32768, "gc_thresh1": 16384}
"""Entries in the kernel's one table of neighbours (arp(7)), of which each sandbox takes two; usually 1024."""

_MAX_FLOWS = 8192
"""Connections to the outside that one sandbox may have: the host's table of them is shared by all."""


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


def ruleset(plan: Plan, servers: list[str]) -> str:
    """The instance's nftables table (nft(8)): it only ever judges packets of its own devices."""
    own = f'"{plan.prefix}*"'
    return f"""
table inet berm-{plan.instance} {{
    chain input {{
        type filter hook input priority -10; policy accept;
        iifname {own} ct state established,related accept
        iifname {own} drop
    }}
    chain forward {{
        type filter hook forward priority -10; policy accept;
        iifname {own} jump egress
        oifname {own} ct state established,related accept
        oifname {own} drop
    }}
    set flows {{
        type ipv4_addr; size {plan.slots}; flags dynamic
    }}
    chain egress {{
        meta nfproto ipv6 drop
        fib saddr . iif oif missing drop
        ip saddr {plan.offline_subnet} drop
        ip daddr {{ {", ".join(servers)} }} meta l4proto {{ tcp, udp }} th dport 53 accept
        ip daddr {{ {_NOT_PUBLIC} }} drop
        fib daddr type local drop
        ct state new add @flows {{ ip saddr ct count over {_MAX_FLOWS} }} drop
        accept
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat;
        ip saddr {plan.subnet} oifname != {own} masquerade
    }}
}}
"""


def set_up_host(plan: Plan, servers: list[str]) -> None:
    """Install the firewall and let the host forward. Safe to call again; raises OSError with nft's words."""
    table = f"table inet berm-{plan.instance}\n"
    programs.run("nft", "-f", "-", script=f"{table}delete {table}{ruleset(plan, servers)}")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    for name, least in _NEIGHBOURS.items():
        _raise(Path("/proc/sys/net/ipv4/neigh/default", name), least)


def _raise(setting: Path, least: int) -> None:
    if int(setting.read_text()) < least:
        setting.write_text(str(least))


def tear_down_host(plan: Plan) -> None:
    """Remove the firewall table of this instance."""
    table = f"table inet berm-{plan.instance}\n"
    programs.run("nft", "-f", "-", script=f"{table}delete {table}")


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
        route = [netlink.default_route(index, plan.host_address(slot))] if plan.internet(slot) else []
        inside.send(
            netlink.up(loopback),
            netlink.no_link_local(index),
            netlink.address(index, plan.address(slot), 31),
            netlink.up(index),
            *route,
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
