"""A SOCKS5 server of the owner's, which all TCP of a sandbox goes through, and none goes past."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import certifi
import pytest
from e2b import ALL_TRAFFIC, AsyncSandbox, CommandExitException, Sandbox, SandboxException

from tests.instance import Instance
from tests.outside import ADDRESS, OTHER, PRIVATE, SOCKS, Outside, internet
from tests.outside_server import PASSWORD, USER
from tests.sdk.named import resolving
from tests.sdk.test_egress_names import REFUSED, fetch
from tests.sdk.test_network import reaches

PROXY = {"address": f"{SOCKS}:1080", "username": USER, "password": PASSWORD}


AUTHORITY = Path(certifi.where()).read_text().partition("-----END")[0] + "-----END CERTIFICATE-----\n"
"""One that has not vouched for anything here."""


@pytest.fixture(scope="module", autouse=True)
def outside(berm: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    directory = tmp_path_factory.mktemp("proxy")
    with internet(directory) as outside, resolving(berm, directory):
        yield outside


def asked(outside: Outside) -> list[tuple[str, str]]:
    """What the SOCKS server was asked for."""
    return [(entry["asked"], entry["port"]) for entry in outside.seen() if entry["event"] == "socks"]


def test_every_connection_goes_through_it(create: Callable[..., Sandbox], outside: Outside) -> None:
    sandbox = create(network={"egress_proxy": PROXY})
    before = len(asked(outside))
    assert reaches(sandbox, ADDRESS)
    assert reaches(sandbox, f"{OTHER}:8080")
    greeting = f"import socket; print(socket.create_connection(('{ADDRESS}', 9000)).recv(99).decode())"
    assert sandbox.commands.run(f'python3 -c "{greeting}"').stdout.strip() == f"hello from {ADDRESS}"
    assert asked(outside)[before:] == [(ADDRESS, "80"), (OTHER, "8080"), (ADDRESS, "9000")]


def test_lists_are_looked_at_first(create: Callable[..., Sandbox], outside: Outside) -> None:
    sandbox = create(network={"egress_proxy": PROXY, "deny_out": [OTHER]})
    before = len(asked(outside))
    assert not reaches(sandbox, f"{OTHER}:8080")
    assert not reaches(sandbox, f"{PRIVATE}:8080")
    assert reaches(sandbox, f"{ADDRESS}:8080")
    assert asked(outside)[before:] == [(ADDRESS, "8080")]


def test_names_are_resolved_by_it(create: Callable[..., Sandbox], outside: Outside) -> None:
    network = {"allow_out": ["allowed.test", OTHER], "deny_out": [ALL_TRAFFIC], "egress_proxy": PROXY}
    sandbox = create(network=network)
    before = len(asked(outside))
    assert fetch(sandbox, "http://allowed.test/") == "127.0.0.1"
    assert fetch(sandbox, "https://allowed.test/") == "127.0.0.1 allowed.test"
    assert fetch(sandbox, "https://other.test/") == REFUSED
    assert fetch(sandbox, "https://other.test/", at=OTHER) == f"{OTHER} other.test"
    assert asked(outside)[before:] == [("allowed.test", "80"), ("allowed.test", "443"), (OTHER, "443")]


@pytest.mark.parametrize(
    "proxy",
    [
        {**PROXY, "password": "wrong"},
        {"address": PROXY["address"]},
        {**PROXY, "address": f"{SOCKS}:1"},
        {**PROXY, "address": f"{SOCKS}:8080"},
        {**PROXY, "address": "socks.test:1080", "tls": True},
        {**PROXY, "address": "socks.test:1081"},
        {**PROXY, "address": f"{SOCKS}:1081", "tls": True},
        {**PROXY, "address": "socks.test:1081", "tls": {"ca_cert": AUTHORITY}},
    ],
    ids=["wrong password", "no password", "nobody", "no SOCKS", "no TLS", "TLS", "unknown name", "untrusted"],
)
def test_there_is_no_way_past_one_that_fails(
    create: Callable[..., Sandbox], outside: Outside, proxy: dict[str, Any]
) -> None:
    sandbox = create(network={"egress_proxy": proxy, "allow_out": [ADDRESS, "allowed.test"]})
    with pytest.raises(CommandExitException):
        sandbox.commands.run(f"curl --silent --max-time 15 http://{ADDRESS}:8080/")
    words = "berm: the proxy of this sandbox does not lead to allowed.test\n"
    assert fetch(sandbox, "http://allowed.test/", at=OTHER) == words


@pytest.mark.parametrize(
    ("address", "words"),
    [
        pytest.param(f"{PRIVATE}:1080", "is not a public address", id="private"),
        ("127.0.0.1:1080", "is not a public address"),
        ("rebound.test:1080", "stands for no public address"),
        ("nowhere.test:1080", "cannot be resolved"),
        ("socks.test", "is not host:port"),
        ("socks.test:99999", "is not host:port"),
    ],
)
def test_one_that_is_not_public_is_refused_before_the_sandbox_exists(
    create: Callable[..., Sandbox], sandbox: Sandbox, address: str, words: str
) -> None:
    options: Any = {"egress_proxy": {**PROXY, "address": address}}
    for attempt in (lambda: create(network=options), lambda: sandbox.update_network(options)):
        with pytest.raises(SandboxException, match=f"400: network.egressProxy.address: .*{words}") as failure:
            attempt()
        assert PASSWORD not in str(failure.value)


def test_it_is_set_and_cleared_while_the_sandbox_runs(sandbox: Sandbox, outside: Outside) -> None:
    drip = f"curl --silent --no-buffer --max-time 60 http://{ADDRESS}:8080/drip"
    updates: list[Any] = [{"egress_proxy": {**PROXY, "address": "socks.test:1080"}}, {}]
    for update in updates:
        handle = sandbox.commands.run(drip, background=True)
        next(iter(handle))
        before = len(asked(outside))
        sandbox.update_network(update)
        with pytest.raises(CommandExitException):
            handle.wait()
        assert reaches(sandbox, f"{ADDRESS}:8080")
        assert len(asked(outside)) - before == bool(update)


async def test_the_asynchronous_half_sets_it_too(asandbox: AsyncSandbox, outside: Outside) -> None:
    proxy: Any = PROXY
    await asandbox.update_network({"egress_proxy": proxy})
    before = len(asked(outside))
    await asandbox.commands.run(f"curl --silent http://{ADDRESS}:8080/")
    assert asked(outside)[before:] == [(ADDRESS, "8080")]
    info = await asandbox.get_info()
    assert info.network is not None
    assert info.network["egress_proxy"] == {"address": PROXY["address"], "username": USER}


def own(outside: Outside) -> str:
    """The certificate that the servers have."""
    return outside.log.with_name("outside.pem").read_text()


@pytest.mark.parametrize("trusts", ["machine", "own"])
def test_tls_leads_to_it(create: Callable[..., Sandbox], outside: Outside, trusts: str) -> None:
    """By the machine's trust and the name of its address, or as it is said; plain and TLS pass in it."""
    proxy: Any = {**PROXY, "address": "socks.test:1081", "tls": True}
    if trusts == "own":
        tls = {"server_name": "allowed.test", "ca_cert": own(outside)}
        proxy = {**PROXY, "address": f"{SOCKS}:1081", "tls": tls}
    rules: Any = {"allowed.test": [{"transform": {"headers": {"X-Set": "yes"}}}]}
    sandbox = create(network={"egress_proxy": proxy, "rules": rules, "allow_out": ["allowed.test", OTHER]})
    before = len(asked(outside))
    assert fetch(sandbox, "http://allowed.test/") == "127.0.0.1"
    assert fetch(sandbox, "https://other.test/", at=OTHER) == f"{OTHER} other.test"
    assert fetch(sandbox, "https://allowed.test/") == "127.0.0.1 allowed.test"
    large = f"curl --silent http://{OTHER}:8080/large | md5sum"
    direct = "python3 -c \"print(''.join('%09d\\n' % n * 1000 for n in range(2000)), end='')\" | md5sum"
    assert sandbox.commands.run(large).stdout == sandbox.commands.run(direct).stdout
    assert asked(outside)[before:] == [
        ("allowed.test", "80"),
        (OTHER, "443"),
        ("allowed.test", "443"),
        (OTHER, "8080"),
    ]
    info = sandbox.get_info().network
    assert info is not None
    named = {"server_name": "allowed.test"} if trusts == "own" else {}
    assert info["egress_proxy"] == {"address": proxy["address"], "username": USER, "tls": named}


def test_it_outlives_the_server_and_its_password_is_nowhere(
    create: Callable[..., Sandbox], berm: Instance, outside: Outside, tmp_path: Path
) -> None:
    made, updated = create(network={"egress_proxy": PROXY}), create()
    proxy: Any = PROXY
    updated.update_network({"egress_proxy": proxy})
    berm.kill_server()
    berm.berm("up")
    before = len(asked(outside))
    for sandbox in (made, updated):
        again = Sandbox.connect(sandbox.sandbox_id)
        assert reaches(again, f"{ADDRESS}:8080")
        assert PASSWORD not in json.dumps(again.get_info().network)
        assert PASSWORD not in again.commands.run("env; cat /proc/1/environ; ls -R /etc", user="root").stdout
    assert asked(outside)[before:] == [(ADDRESS, "8080")] * 2
    files = [path for path in (berm.home, berm.home / "run") for path in path.iterdir() if path.is_file()]
    kept = [path for path in files if path.name != "pool.img" and PASSWORD.encode() in path.read_bytes()]
    assert not kept
    assert not in_memory(berm.launcher_pid(), PASSWORD.encode())


def in_memory(pid: int, word: bytes) -> bool:
    """Whether a process holds that anywhere in what it may write to."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        span, rights, *_ = line.split()
        start, end = (int(number, 16) for number in span.split("-"))
        if rights.startswith("rw") and "[v" not in line:
            with Path(f"/proc/{pid}/mem").open("rb") as memory:
                memory.seek(start)
                if word in memory.read(end - start):
                    return True
    return False


def test_udp_goes_the_usual_way(create: Callable[..., Sandbox]) -> None:
    sandbox = create(network={"egress_proxy": PROXY})
    script = f"""
import socket
s = socket.socket(type=socket.SOCK_DGRAM)
s.settimeout(5)
s.connect(("{ADDRESS}", 5353))
s.send(b"ping")
print(s.recv(9).decode())
"""
    sandbox.files.write("/tmp/udp.py", script)
    assert sandbox.commands.run("python3 /tmp/udp.py").stdout == "ping\n"
