"""The instance's nftables table (nft(8)): rules for all sandboxes, and those that have some of their own.

A sandbox with a policy has three chains, which maps find by its address: what it sends (`egress-SLOT`), what
it is sent (`reply-SLOT`), so that a flow that has become forbidden ends both ways at once, and what is
handed to the host's proxy (`redirect-SLOT`). Sandboxes without one cost no work here.
"""

import ipaddress
import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from berm.launcher import programs
from berm.launcher.network import Plan
from berm.launcher.policy import Policy, Redirect

NOT_PUBLIC: Final = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/3",
)
"""What no sandbox reaches through the host: the special-purpose blocks of RFC 6890 that route anywhere."""

PROXY_PORT: Final = 15001
"""Where the host's end of a sandbox's wire takes redirected connections."""

_MAX_FLOWS: Final = 8192
"""Connections to the outside that one sandbox may have: the host's table of them is shared by all."""

_REDIRECTS: Final = {
    Redirect.HTTP: "tcp dport 80",
    Redirect.WEB: "tcp dport { 80, 443 }",
    Redirect.TCP: "meta l4proto tcp",
}
_OWN: Final = {"egress": "policies", "reply": "replies", "redirect": "redirects"}
"""The chains that a sandbox with a policy has, and the maps that find them."""

_MAPS: Final = "".join(f"map {name} {{ type ipv4_addr : verdict; }}\n" for name in _OWN.values())


class Firewall:
    """Installs and changes the table, always in one step. All state is in the kernel, and lives on there."""

    def __init__(self, plan: Plan, resolvers: Sequence[str]) -> None:
        """`resolvers` are the host's name servers."""
        self._plan = plan
        self._resolvers = tuple(map(ipaddress.IPv4Address, resolvers))
        self._table = f"inet berm-{plan.instance}"
        self._policed: set[int] = set()

    def set_up(self) -> None:
        """Install the rules for all anew; those of one sandbox stay. Raises OSError with nft's words."""
        _nft(self._declaration(), *self._flushed(), self._rules())
        self._policed = self._found()

    def tear_down(self) -> None:
        """Remove the table."""
        _nft(f"table {self._table}", f"delete table {self._table}")

    def policed(self) -> frozenset[int]:
        """The slots that have rules of their own."""
        return frozenset(self._policed)

    def police(self, slot: int, policy: Policy) -> None:
        """Give a slot these rules in place of what it had. Raises OSError with nft's words."""
        address = self._plan.address(slot)
        chains = {"egress": self._egress(policy), "reply": self._reply(policy)}
        lines = []
        for kind, name in _OWN.items():
            chain = f"{self._table} {kind}-{slot}"
            lines += [f"add chain {chain}", f"flush chain {chain}"]
            lines += [f"add rule {chain} {rule}" for rule in chains.get(kind) or self._redirected(policy)]
            lines.append(f"add element {self._table} {name} {{ {address} : goto {kind}-{slot} }}")
        _nft(*lines)
        self._policed.add(slot)

    def release(self, slot: int) -> None:
        """Remove a slot's own rules, once nothing of its sandbox runs any more. Safe to call again."""
        if slot not in self._policed:
            return
        address = self._plan.address(slot)
        _nft(
            *(f"delete element {self._table} {name} {{ {address} }}" for name in _OWN.values()),
            *(f"delete chain {self._table} {kind}-{slot}" for kind in _OWN),
        )
        self._policed.discard(slot)

    def _egress(self, policy: Policy) -> list[str]:
        rules = [f"{self._dns(policy, 'daddr')} th dport 53 accept"]
        if policy.redirect is Redirect.TCP:
            rules.append("meta l4proto tcp goto refuse")
        rules += [f"ip daddr {_set(policy.allow)} goto allowed", f"ip daddr {_set(policy.deny)} goto refuse"]
        return _present([*rules, "goto refuse" if policy.closed else "goto allowed"])

    def _reply(self, policy: Policy) -> list[str]:
        # TCP ends by the refusal of what the sandbox sends, of which it hears; others could go on unanswered.
        rules = ["meta l4proto tcp accept", f"{self._dns(policy, 'saddr')} th sport 53 accept"]
        rules += [f"ip saddr {_set(policy.allow)} accept", f"ip saddr {_set(policy.deny)} drop"]
        return _present([*rules, "drop" if policy.closed else "accept"])

    def _redirected(self, policy: Policy) -> list[str]:
        if policy.redirect is Redirect.NONE:
            return []
        rules = [
            f"{self._dns(policy, 'daddr')} th dport 53 return",
            f"ip daddr {_set(policy.untouched)} return",
        ]
        return _present([*rules, f"{_REDIRECTS[policy.redirect]} redirect to :{PROXY_PORT}"])

    def _dns(self, policy: Policy, side: str) -> str:
        """Matches packets between a sandbox and those of the host's name servers that it may ask."""
        servers = [server for server in self._resolvers if policy.asks(server)]
        return f"ip {side} {_set(servers)} meta l4proto {{ tcp, udp }}"

    def _found(self) -> set[int]:
        """The slots that have rules of their own in the kernel."""
        answer = json.loads(programs.run("nft", "-j", "list", "map", *self._table.split(), "policies"))
        maps = [entry["map"] for entry in answer["nftables"] if "map" in entry]
        return {self._slot(element) for found in maps for element in found.get("elem", ())}

    def _slot(self, element: Sequence[Any]) -> int:
        return (int(ipaddress.IPv4Address(element[0])) - int(self._plan.subnet.network_address)) // 2

    def _declaration(self) -> str:
        """All that the rules are in, so that it can be emptied whether it was there or not."""
        chains = "\n".join(f"chain {name} {{ {hook} }}" for name, hook in _CHAINS.items())
        return f"table {self._table} {{\n{_MAPS}{self._sets()}{chains}\n}}"

    def _sets(self) -> str:
        kind = f"type ipv4_addr; size {self._plan.slots};"
        flows, rates = f"{kind} flags dynamic;", f"{kind} flags dynamic,timeout; timeout 1m;"
        return f"set flows {{ {flows} }}\nset rates {{ {rates} }}\n"

    def _flushed(self) -> list[str]:
        return [
            *(f"flush chain {self._table} {name}" for name in _CHAINS),
            *(f"delete set {self._table} {name}" for name in ("flows", "rates")),
        ]

    def _rules(self) -> str:
        """They only ever judge packets of the instance's own devices."""
        plan, own = self._plan, f'"{self._plan.prefix}*"'
        servers = ", ".join(map(str, self._resolvers))
        return f"""
table {self._table} {{
    {self._sets()}
    chain input {{
        iifname {own} ct state established,related accept
        iifname {own} tcp dport {PROXY_PORT} ct status dnat jump redirected
        iifname {own} drop
    }}
    chain redirected {{
        meta nfproto ipv6 drop
        fib saddr . iif oif missing drop
        ct state new add @rates {{ ip saddr limit rate over {_RATE} }} drop
        goto counted
    }}
    chain forward {{
        iifname {own} jump egress
        oifname {own} jump ingress
    }}
    chain ingress {{
        ct state related accept
        ct state != established drop
        ip daddr vmap @replies
        accept
    }}
    chain egress {{
        meta nfproto ipv6 drop
        fib saddr . iif oif missing drop
        ip saddr vmap @policies
        ip saddr {plan.offline_subnet} goto refuse
        ip daddr {{ {servers} }} meta l4proto {{ tcp, udp }} th dport 53 accept
        goto allowed
    }}
    chain allowed {{
        ip daddr {{ {", ".join(NOT_PUBLIC)} }} drop
        fib daddr type local drop
        goto counted
    }}
    chain counted {{
        ct state new add @flows {{ ip saddr ct count over {_MAX_FLOWS} }} drop
        accept
    }}
    chain refuse {{
        meta l4proto tcp reject with tcp reset
        reject with icmpx admin-prohibited
    }}
    chain prerouting {{
        iifname {own} ip saddr vmap @redirects
    }}
    chain postrouting {{
        ip saddr {plan.subnet} oifname != {own} masquerade
    }}
}}
"""


_RATE: Final = "200/second burst 400 packets"
"""How fast one sandbox may open connections to the proxy, which is one process for all."""

_CHAINS: Final = {
    "input": "type filter hook input priority -10; policy accept;",
    "forward": "type filter hook forward priority -10; policy accept;",
    "prerouting": "type nat hook prerouting priority dstnat; policy accept;",
    "postrouting": "type nat hook postrouting priority srcnat;",
    **dict.fromkeys(("redirected", "ingress", "egress", "allowed", "counted", "refuse"), ""),
}


def _set(values: Iterable[object]) -> str:
    return f"{{ {', '.join(map(str, values))} }}"


def _present(rules: Iterable[str]) -> list[str]:
    """Without those whose set is empty, which match nothing and are no syntax of nft's."""
    return [rule for rule in rules if "{  }" not in rule]


def _nft(*lines: str) -> None:
    programs.run("nft", "-f", "-", script="\n".join(lines) + "\n")
