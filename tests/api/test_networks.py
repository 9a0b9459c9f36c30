"""What a sandbox may reach outside, as it is asked for and answered."""

from pathlib import Path
from typing import Any

import pytest

from berm.config import Config
from berm.models import EVERYWHERE, Egress, Socks, SocksTls
from tests.api.checks import check_error
from tests.certificates import Authority
from tests.serving import Served

LISTS = {"allowOut": ["203.0.113.2", "198.51.100.0/24"], "denyOut": [EVERYWHERE]}


def create(served: Served, **body: Any) -> str:
    response = served.client.post("/v2/sandboxes", json={"templateID": "base", **body})
    assert response.status_code == 201, response.text
    return str(response.json()["sandboxID"])


def network(served: Served, sandbox_id: str) -> Any:
    return served.client.get(f"/sandboxes/{sandbox_id}").json()["network"]


def put(served: Served, sandbox_id: str, **body: Any) -> None:
    response = served.client.put(f"/sandboxes/{sandbox_id}/network", json=body)
    assert response.status_code == 204, response.text


def test_lists_are_given_to_the_node_and_answered_as_configured(served: Served) -> None:
    made = create(served, network=LISTS)
    assert network(served, made) == {"allowPublicTraffic": True, **LISTS}
    assert served.node.specs[made].egress == Egress(tuple(LISTS["allowOut"]), tuple(LISTS["denyOut"]))


@pytest.mark.parametrize(
    ("body", "internet"),
    [
        ({}, True),
        ({"allow_internet_access": False}, False),
        ({"network": {"denyOut": [EVERYWHERE]}}, False),
        ({"network": {"denyOut": [EVERYWHERE]}, "allow_internet_access": True}, False),
        ({"network": {"dnsServers": ["1.1.1.1"]}}, True),
    ],
)
def test_all_or_nothing_takes_no_rules_of_its_own(
    served: Served, body: dict[str, Any], internet: bool
) -> None:
    spec = served.node.specs[create(served, **body)]
    assert (spec.egress, spec.allow_internet) == (None, internet)


def test_without_internet_only_what_is_allowed_is_left(served: Served) -> None:
    made = create(served, network={"allowOut": ["203.0.113.2"]}, allow_internet_access=False)
    assert served.node.specs[made].egress == Egress(("203.0.113.2",), (EVERYWHERE,))
    assert network(served, made)["denyOut"] == [EVERYWHERE]


def test_an_update_replaces_all_and_clears_what_is_left_out(served: Served) -> None:
    made = create(served, network=LISTS, allow_internet_access=False)
    put(served, made, denyOut=["203.0.113.0/24"])
    assert network(served, made) == {
        "allowPublicTraffic": True,
        "allowOut": [],
        "denyOut": ["203.0.113.0/24"],
    }
    put(served, made)
    assert network(served, made) == {"allowPublicTraffic": True, "allowOut": [], "denyOut": []}
    put(served, made, allow_internet_access=False)
    assert network(served, made)["denyOut"] == [EVERYWHERE]
    told = [egress for _, egress in served.node.policed]
    assert told == [Egress(deny_out=("203.0.113.0/24",)), Egress(), Egress(deny_out=(EVERYWHERE,))]


def test_only_the_team_s_own_live_sandboxes_are_updated(served: Served) -> None:
    made = create(served)
    for sandbox_id in ("nosuchsandbox", made):
        served.client.delete(f"/sandboxes/{made}")
        response = served.client.put(f"/sandboxes/{sandbox_id}/network", json={})
        check_error(response, 404, f"sandbox '{sandbox_id}' not found")
    assert served.node.policed == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"allowOut": ["::1"]}, "network.allowOut: '::1' is not an IPv4 address, a network or a host name"),
        ({"allowOut": ["10.0.0.0/33"]}, "network.allowOut: '10.0.0.0/33' is not"),
        ({"allowOut": ["exa mple.com"]}, "network.allowOut: 'exa mple.com' is not"),
        ({"denyOut": ["example.com"]}, "network.denyOut: 'example.com' is not an IPv4 address or network"),
        ({"denyOut": [f"10.0.{n // 256}.{n % 256}" for n in range(501)]}, "network.denyOut has 501 entries"),
        ({"dnsServers": ["10.0.0.0/8"]}, "network.dnsServers: '10.0.0.0/8' is not an IPv4 address"),
        ({"dnsServers": ["1.1.1.1"] * 11}, "network.dnsServers has 11 entries"),
        ({"allowOut": "10.0.0.1"}, "allowOut is '10.0.0.1'"),
    ],
)
def test_an_entry_that_cannot_be_is_named(served: Served, body: dict[str, Any], words: str) -> None:
    response = served.client.post("/v2/sandboxes", json={"templateID": "base", "network": body})
    check_error(response, 400, words)
    assert not served.node.specs
    made = create(served)
    check_error(served.client.put(f"/sandboxes/{made}/network", json=body), 400, words)
    assert not served.node.policed


PROXY = {"address": "proxy.example.com:1080", "username": "walrus", "password": "tusk-and-tusk"}


def test_a_proxy_is_given_to_the_node_and_its_password_to_nobody_else(served: Served, config: Config) -> None:
    made = create(served, network={"egressProxy": PROXY})
    expected = {"address": PROXY["address"], "username": "walrus"}
    assert network(served, made)["egressProxy"] == expected
    assert served.node.specs[made].egress == Egress(proxy=Socks(PROXY["address"], "walrus", "tusk-and-tusk"))
    put(served, made, egressProxy={**PROXY, "password": "other-tusk"})
    assert network(served, made)["egressProxy"] == expected
    assert served.node.policed[-1][1].proxy == Socks(PROXY["address"], "walrus", "other-tusk")
    assert "tusk" not in repr(served.node.policed)
    kept = [path.read_bytes() for path in config.home.iterdir() if path.is_file()]
    assert kept
    assert not [content for content in kept if b"tusk" in content]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"address": "proxy"}, "network.egressProxy.address: 'proxy' is not host:port"),
        ({"address": "http://proxy:80"}, "is not host:port"),
        ({"address": "proxy:0"}, "is not host:port"),
        ({"address": "[::1]:1080"}, "is not host:port"),
        ({"username": None}, "network.egressProxy has a username or a password alone"),
        ({"password": "tusk" * 64}, "network.egressProxy.password is longer than 255 bytes"),
        ({"password": 5}, "network.egressProxy.password is wrong"),
        ({"password": ["tusk"]}, "network.egressProxy.password is wrong"),
    ],
)
def test_a_proxy_that_cannot_be_is_refused_without_an_echo(
    untouched: Served, changes: dict[str, Any], words: str
) -> None:
    body = {"templateID": "base", "network": {"egressProxy": {**PROXY, **changes}}}
    response = untouched.client.post("/v2/sandboxes", json=body)
    check_error(response, 400, words)
    assert "tusk" not in response.text


@pytest.mark.parametrize(
    ("tls", "words"),
    [
        ({"enabled": False, "serverName": "a.com"}, "network.egressProxy.tls.serverName is set"),
        ({"enabled": False, "caCert": "x"}, "network.egressProxy.tls.caCert is set, and enabled is False"),
        ({"enabled": True, "serverName": "no name"}, "tls.serverName: 'no name' is not a host name"),
        ({"enabled": True, "serverName": "*.a.com"}, "tls.serverName: '*.a.com' is not a host name"),
        ({"enabled": True, "caCert": "tusk"}, "network.egressProxy.tls.caCert holds no certificates"),
        ({"enabled": True, "caCert": "t\u00fcsk"}, "network.egressProxy.tls.caCert holds no certificates"),
        ({"enabled": True, "caCert": "t" * 8193}, "network.egressProxy.tls.caCert is wrong"),
        ({"serverName": "a.com"}, "network.egressProxy.tls.enabled"),
    ],
)
def test_tls_that_cannot_be_is_refused(untouched: Served, tls: dict[str, Any], words: str) -> None:
    body = {"templateID": "base", "network": {"egressProxy": {**PROXY, "tls": tls}}}
    response = untouched.client.post("/v2/sandboxes", json=body)
    check_error(response, 400, words)
    assert "tusk" not in response.text


def test_tls_of_a_proxy_is_kept_and_answered_without_certificates(served: Served, tmp_path: Path) -> None:
    certificate = Authority.make(tmp_path).certificate.read_text()
    tls = {"enabled": True, "serverName": "a.com", "caCert": certificate}
    made = create(served, network={"egressProxy": {**PROXY, "tls": tls}})
    expected = Socks(PROXY["address"], "walrus", "tusk-and-tusk", SocksTls("a.com", certificate))
    assert served.node.specs[made].egress == Egress(proxy=expected)
    answered = {
        "address": PROXY["address"],
        "username": "walrus",
        "tls": {"enabled": True, "serverName": "a.com"},
    }
    assert network(served, made)["egressProxy"] == answered
    put(served, made, egressProxy={**PROXY, "tls": {"enabled": True}})
    assert network(served, made)["egressProxy"]["tls"] == {"enabled": True}
    put(served, made, egressProxy={**PROXY, "tls": {"enabled": False}})
    assert "tls" not in network(served, made)["egressProxy"]


def rules(host: str = "a.com", name: str = "X-Key", value: str = "tusk") -> Any:
    return {"rules": {host: [{"transform": {"headers": {name: value}}}, {}]}}


def test_rules_are_given_to_the_node_and_answered(served: Served, config: Config) -> None:
    made = create(served, network=rules())
    assert served.node.specs[made].egress == Egress(rules={"a.com": {"X-Key": "tusk"}})
    assert network(served, made)["rules"] == {"a.com": [{"transform": {"headers": {"X-Key": "tusk"}}}]}
    assert not [path for path in config.home.glob("berm.db*") if b"tusk" in path.read_bytes()]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (rules(host="a b"), 400, "network.rules: 'a b' is not a host name"),
        (rules(host="10.0.0.1"), 400, "network.rules: '10.0.0.1' is not a host name"),
        (rules(name="Host"), 400, "network.rules.a.com: the header 'Host' cannot be set"),
        (rules(name="X Y"), 400, "the header 'X Y' cannot be set"),
        (rules(name=""), 400, "the header '' cannot be set"),
        (rules(value="tusk\r\nX: y"), 400, "has a value that no header can have"),
        (rules(value="tusk" * 3000), 400, "has a value that no header can have"),
        (
            rules(value="tusk ${e2b.identity.tokens.aws}"),
            400,
            "names the identity token 'aws', which iam.tokens does not have",
        ),
        ({"rules": {"a.com": [{"transform": {"headers": {"X": ["tusk"]}}}]}}, 400, "is wrong"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_without_an_echo(
    untouched: Served, body: dict[str, Any], status: int, words: str
) -> None:
    response = untouched.client.post("/v2/sandboxes", json={"templateID": "base", "network": body})
    check_error(response, status, words)
    assert "tusk" not in response.text
