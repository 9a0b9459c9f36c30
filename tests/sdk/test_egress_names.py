"""Hosts that a sandbox may reach by their names: by Host and SNI, whatever address it sends to."""

import json
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from e2b import ALL_TRAFFIC, AsyncSandbox, CommandExitException, Sandbox

from tests.instance import Instance
from tests.outside import ADDRESS, OTHER, PRIVATE, Outside, internet
from tests.sdk.named import resolving, start
from tests.sdk.test_network import reaches

REFUSED = "refused"


@pytest.fixture(scope="module", autouse=True)
def names(berm: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    directory = tmp_path_factory.mktemp("names")
    with internet(directory) as outside, resolving(berm, directory):
        yield outside


def fetch(sandbox: Sandbox, url: str, options: str = "", at: str = ADDRESS) -> str:
    """Which server answered, or what the proxy or the lack of an answer says."""
    command = f"curl --silent --insecure --max-time 15 --connect-to ::{at}: {options} {url}"
    try:
        answer = sandbox.commands.run(command).stdout
    except CommandExitException as failure:
        assert failure.exit_code in (7, 28, 35, 52, 56), failure
        return REFUSED
    return answer if answer.startswith("berm: ") else str(json.loads(answer)["where"])


@pytest.fixture
def named(create: Callable[..., Sandbox]) -> Sandbox:
    hosts = ["allowed.test", "*.allowed.test", "rebound.test", "loop.test", "metadata.test", "host.test"]
    network = {"allow_out": [*hosts, "both.test", "missing.test"], "deny_out": [ALL_TRAFFIC]}
    return create(network=network, timeout=120)


def test_a_name_is_reached_and_no_other(named: Sandbox) -> None:
    assert fetch(named, "http://allowed.test/") == ADDRESS
    assert fetch(named, "https://allowed.test/") == f"{ADDRESS} allowed.test"
    assert fetch(named, "http://ALLOWED.test./") == ADDRESS
    assert fetch(named, "http://deep.below.allowed.test/") == OTHER
    assert fetch(named, "https://deep.below.allowed.test/") == f"{OTHER} deep.below.allowed.test"
    assert fetch(named, "http://other.test/") == "berm: this sandbox may not reach other.test\n"
    assert fetch(named, "https://other.test/") == REFUSED
    assert fetch(named, f"http://{ADDRESS}/") == f"berm: this sandbox may not reach {ADDRESS}\n"
    assert fetch(named, f"https://{ADDRESS}/") == REFUSED


def test_the_address_that_it_is_sent_to_does_not_matter(named: Sandbox) -> None:
    for at in (OTHER, PRIVATE, "169.254.169.254", "10.255.255.1"):
        assert fetch(named, "http://allowed.test/", at=at) == ADDRESS
        assert fetch(named, "https://allowed.test/", at=at) == f"{ADDRESS} allowed.test"
    assert fetch(named, "https://other.test/", at=ADDRESS) == REFUSED


def test_other_ports_and_protocols_are_closed(named: Sandbox) -> None:
    assert not reaches(named, f"{ADDRESS}:8080")
    script = f"""
import socket
s = socket.socket(type=socket.SOCK_DGRAM)
s.settimeout(1)
s.connect(("{ADDRESS}", 5353))
s.send(b"1")
s.recv(9)
"""
    named.files.write("/tmp/udp.py", script)
    with pytest.raises(CommandExitException, match="Error"):
        named.commands.run("python3 /tmp/udp.py")


def test_a_name_that_leads_near_the_host_leads_nowhere(named: Sandbox) -> None:
    """The operator of a name decides what it stands for, and may be the one who runs the sandbox."""
    for name in ("rebound.test", "loop.test", "metadata.test", "host.test"):
        words = f"berm: the name {name} stands for no public address\n"
        assert fetch(named, f"http://{name}/") == words
        assert fetch(named, f"https://{name}/") == REFUSED
    assert fetch(named, "http://both.test/") == ADDRESS
    assert fetch(named, "http://missing.test/") == "berm: the name missing.test cannot be resolved\n"


def test_the_host_is_read_and_not_only_once(named: Sandbox, names: Outside) -> None:
    """One connection with a request for an allowed host, and then one for another on the same server."""
    script = f"""
import socket
s = socket.create_connection(("{ADDRESS}", 80))
for path, host in (b"/1", b"allowed.test"), (b"/2", b"other.test"):
    s.sendall(b"GET %s HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\n" % (path, host))
data = b""
while piece := s.recv(65536):
    data += piece
print(data.count(b"HTTP/1.1 200"))
"""
    named.files.write("/tmp/twice.py", script)
    assert named.commands.run("python3 /tmp/twice.py").stdout == "1\n"
    assert not [entry for entry in names.seen() if "/2" in entry.get("head", "")]


@pytest.mark.parametrize(
    "head",
    [
        "GET http://other.test/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n",
        "CONNECT other.test:80 HTTP/1.1\r\nHost: allowed.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: allowed.test\r\nHost: other.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET / HTTP/1.1\nHost: allowed.test\n\n",
        "GET / HTTP/1.1\r\nHost: allowed.test\r\n folded: other.test\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n",
    ],
)
def test_what_could_be_read_in_two_ways_is_not_sent_on(named: Sandbox, names: Outside, head: str) -> None:
    script = f"""
import socket
s = socket.create_connection(("{ADDRESS}", 80))
s.sendall({head.encode()!r})
print(s.recv(65536).split(b"\\r\\n")[0].decode())
"""
    named.files.write("/tmp/odd.py", script)
    before = len(names.seen())
    assert named.commands.run("python3 /tmp/odd.py").stdout == "HTTP/1.1 400 Bad Request\n"
    assert len(names.seen()) == before


def test_bodies_go_both_ways_in_either_coding(named: Sandbox, names: Outside) -> None:
    assert fetch(named, "http://allowed.test/", "--data plain") == ADDRESS
    assert (
        fetch(named, "http://allowed.test/", "--data chunked --header 'Transfer-Encoding: chunked'")
        == ADDRESS
    )
    bodies = [entry["body"] for entry in names.seen() if entry.get("body")]
    assert bodies[-2:] == ["plain", "chunked"]


def test_a_connection_is_upgraded(named: Sandbox) -> None:
    script = f"""
import socket
s = socket.create_connection(("{ADDRESS}", 80))
s.sendall(b"GET /upgrade HTTP/1.1\\r\\nHost: allowed.test\\r\\n")
s.sendall(b"Connection: Upgrade\\r\\nUpgrade: echo\\r\\n\\r\\n")
print(s.recv(12).decode())
while not s.recv(65536).endswith(b"\\r\\n\\r\\n"):
    pass
s.sendall(b"ping")
print(s.recv(9).decode())
"""
    named.files.write("/tmp/upgrade.py", script)
    assert named.commands.run("python3 /tmp/upgrade.py").stdout == "HTTP/1.1 101\nping\n"


def test_a_hello_in_pieces_is_read_whole(named: Sandbox) -> None:
    """Byte by byte, and as many TLS records, which some filters do not put together."""
    script = f"""
import socket, ssl, sys, time
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
tls = context.wrap_bio(incoming, outgoing, server_hostname=sys.argv[1])
try:
    tls.do_handshake()
except ssl.SSLWantReadError:
    hello = outgoing.read()[5:]
s = socket.create_connection(("{ADDRESS}", 443))
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
try:
    for at in range(0, len(hello), 40):
        part = hello[at : at + 40]
        record = b"\\x16\\x03\\x01" + len(part).to_bytes(2) + part
        s.sendall(record[:3])
        s.sendall(record[3:])
    print("answered" if s.recv(1) == b"\\x16" else "other")
except OSError:
    print("reset")
"""
    named.files.write("/tmp/pieces.py", script)
    assert named.commands.run("python3 /tmp/pieces.py allowed.test").stdout == "answered\n"
    assert named.commands.run("python3 /tmp/pieces.py other.test").stdout == "reset\n"


def test_an_address_that_is_allowed_is_not_looked_into(create: Callable[..., Sandbox]) -> None:
    sandbox = create(network={"allow_out": ["allowed.test", OTHER]})
    assert fetch(sandbox, "http://other.test/", at=OTHER) == OTHER
    assert fetch(sandbox, "https://other.test/", at=OTHER) == f"{OTHER} other.test"
    assert fetch(sandbox, "http://allowed.test/", at=PRIVATE) == ADDRESS
    assert reaches(sandbox, f"{OTHER}:8080")
    assert fetch(sandbox, "http://other.test/", at=ADDRESS) == "berm: this sandbox may not reach other.test\n"


def test_names_are_given_and_taken_while_it_runs(create: Callable[..., Sandbox]) -> None:
    sandbox = create()
    assert fetch(sandbox, "http://other.test/") == ADDRESS
    sandbox.update_network({"allow_out": ["allowed.test"]})
    assert fetch(sandbox, "http://other.test/").startswith("berm: ")
    assert fetch(sandbox, "http://allowed.test/") == ADDRESS
    sandbox.update_network({"allow_out": ["other.test"]})
    assert fetch(sandbox, "http://allowed.test/").startswith("berm: ")
    assert fetch(sandbox, "http://other.test/") == OTHER
    sandbox.update_network({})
    assert fetch(sandbox, "http://other.test/") == ADDRESS


@pytest.mark.parametrize("begun_with", [{"allow_out": ["allowed.test"]}, {}])
def test_a_connection_whose_name_is_taken_is_cut(create: Callable[..., Sandbox], begun_with: Any) -> None:
    sandbox = create(network=begun_with)
    command = f"curl --silent --no-buffer --max-time 60 --connect-to ::{ADDRESS}: http://allowed.test/drip"
    handle = sandbox.commands.run(command, background=True)
    next(iter(handle))
    sandbox.update_network({"allow_out": ["other.test"]})
    with pytest.raises(CommandExitException) as failure:
        handle.wait()
    assert failure.value.exit_code in (18, 56)


def test_a_connection_whose_name_stays_lives_on(create: Callable[..., Sandbox]) -> None:
    sandbox = create(network={"allow_out": ["allowed.test"]})
    command = f"curl --silent --no-buffer --max-time 3 --connect-to ::{ADDRESS}: http://allowed.test/drip"
    handle = sandbox.commands.run(command, background=True)
    next(iter(handle))
    sandbox.update_network({"allow_out": ["allowed.test", "other.test"]})
    with pytest.raises(CommandExitException) as failure:
        handle.wait()
    assert failure.value.exit_code == 28  # by its own limit of time


def test_one_that_hammers_the_proxy_harms_only_itself(create: Callable[..., Sandbox], named: Sandbox) -> None:
    script = f"""
import socket, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
held = []
for _ in range(3000):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex(("{ADDRESS}", 443))
    held.append(s)
print("held", flush=True)
input()
"""
    hammer = create(network={"allow_out": ["allowed.test"]})
    hammer.files.write("/tmp/hammer.py", script)
    handle = hammer.commands.run("python3 /tmp/hammer.py", background=True, stdin=True)
    next(iter(handle))
    assert fetch(named, "http://allowed.test/") == ADDRESS
    assert named.commands.run("echo lives").stdout == "lives\n"
    handle.kill()


def test_the_proxy_is_no_one_else_s(named: Sandbox, create: Callable[..., Sandbox], berm: Instance) -> None:
    """Who connects to it without having been redirected gets nowhere: the sandbox, another one, the host."""
    gateway = named.commands.run("ip route | awk '/default/ {print $3}'").stdout.strip()
    for sandbox in (named, create()):
        assert not reaches(sandbox, f"{gateway}:15001")
    command = [
        "curl",
        "--silent",
        "--max-time",
        "5",
        "--header",
        "Host: allowed.test",
        f"http://{gateway}:15001/",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "where" not in done.stdout


def test_names_outlive_the_server(create: Callable[..., Sandbox], berm: Instance, tmp_path: Path) -> None:
    sandbox = create(network={"allow_out": ["allowed.test"]})
    start(berm, tmp_path)
    assert fetch(sandbox, "http://allowed.test/") == ADDRESS
    assert fetch(sandbox, "http://other.test/").startswith("berm: ")


def test_a_large_download_is_whole(named: Sandbox) -> None:
    script = f"curl --silent --connect-to ::{ADDRESS}: http://allowed.test/large | sha256sum"
    again = f"curl --silent --insecure --connect-to ::{ADDRESS}: https://allowed.test/large | sha256sum"
    assert named.commands.run(script).stdout == named.commands.run(again).stdout


def test_many_at_once(named: Sandbox) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: fetch(named, "http://allowed.test/"), range(24)))
    assert found == [ADDRESS] * 24


def test_name_servers_that_are_given_are_open_and_no_other(create: Callable[..., Sandbox]) -> None:
    network = {"allow_out": ["allowed.test"], "dns_servers": [OTHER]}
    sandbox = create(network=network)
    assert reaches(sandbox, f"{OTHER}:8080")
    assert not reaches(sandbox, f"{ADDRESS}:8080")
    assert fetch(sandbox, "http://allowed.test/") == ADDRESS
    info = sandbox.get_info().network
    assert info is not None
    assert info["dns_servers"] == [OTHER]
    sandbox.update_network({"allow_out": ["allowed.test"], "dns_servers": []})
    assert not reaches(sandbox, f"{OTHER}:8080")


async def test_the_asynchronous_half_names_hosts_too(asandbox: AsyncSandbox) -> None:
    await asandbox.update_network({"allow_out": ["allowed.test"]})
    command = f"curl --silent --connect-to ::{PRIVATE}: http://allowed.test/"
    assert json.loads((await asandbox.commands.run(command)).stdout)["where"] == ADDRESS
