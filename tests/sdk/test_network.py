"""What a sandbox reaches: the internet, which a namespace plays here, and nothing near the host."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from e2b import CommandExitException, Sandbox

from tests.instance import Instance

OUTSIDE = "203.0.113.2"
"""An address of TEST-NET-3 (RFC 5737), which the rules treat as any public one."""
PRIVATE = "192.168.213.2"


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@pytest.fixture(scope="module")
def outside() -> Iterator[None]:
    """A network namespace that plays the internet, with a web server at a public and at a private address."""
    name, device = "berm-outside", "bermout0"
    names = Path("/run/netns")
    had_names = names.is_mount()
    ip("netns", "add", name)
    ip("link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", name)
    for address in ("203.0.113.1/24", "192.168.213.1/24"):
        ip("address", "add", address, "dev", device)
    ip("link", "set", device, "up")
    for address in (f"{OUTSIDE}/24", f"{PRIVATE}/24"):
        ip("-n", name, "address", "add", address, "dev", "eth0")
    for link in ("lo", "eth0"):
        ip("-n", name, "link", "set", link, "up")
    server = subprocess.Popen(
        ["ip", "netns", "exec", name, "python3", "-u", "-m", "http.server", "80"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/usr/share",
        text=True,
    )
    assert server.stdout
    assert "Serving" in server.stdout.readline()
    yield
    server.kill()
    server.wait()
    server.stdout.close()
    ip("link", "delete", device)
    ip("netns", "delete", name)
    # ip(8) mounts a directory for names and leaves it there.
    if not had_names:
        subprocess.run(["umount", str(names)], check=True)


def reaches(sandbox: Sandbox, address: str) -> bool:
    try:
        sandbox.commands.run(f"curl --silent --max-time 2 --output /dev/null http://{address}/")
    except CommandExitException as failure:
        assert failure.exit_code in (7, 28), failure.stderr  # no route or refused; timed out
        return False
    return True


@pytest.mark.usefixtures("outside")
def test_the_internet_is_reached_unless_it_is_off(create: Callable[..., Sandbox]) -> None:
    assert reaches(create(), OUTSIDE)
    assert not reaches(create(allow_internet_access=False), OUTSIDE)


@pytest.mark.usefixtures("outside")
def test_private_networks_and_the_host_are_not_reached(
    create: Callable[..., Sandbox], berm: Instance
) -> None:
    sandbox, other = create(), create()
    port = berm.env["BERM_PORT"]
    other.commands.run("python3 -m http.server 8000", background=True)
    gateway = sandbox.commands.run("ip route | awk '/default/ {print $3}'").stdout.strip()
    inside = other.commands.run("hostname -I").stdout.strip()
    for address in (
        PRIVATE,
        "192.168.213.1",
        "203.0.113.1",
        f"{gateway}:{port}",
        f"{inside}:8000",
        "169.254.169.254",
        "10.255.255.1",
        "172.16.0.1",
        "100.64.0.1",
    ):
        assert not reaches(sandbox, address), address


@pytest.mark.usefixtures("outside")
def test_a_forged_source_address_goes_nowhere(sandbox: Sandbox) -> None:
    forge = """python3 - <<'END'
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
packet = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28, 1, 0, 64, 17, 0,
    socket.inet_aton("198.51.100.9"), socket.inet_aton("203.0.113.2")) + struct.pack("!HHHH", 9, 9, 8, 0)
for _ in range(3):
    s.sendto(packet, ("203.0.113.2", 0))
END"""
    before = forwarded()
    sandbox.commands.run(forge, user="root")
    assert forwarded() == before


@pytest.mark.usefixtures("outside")
def test_one_sandbox_cannot_fill_the_hosts_table_of_connections(sandbox: Sandbox) -> None:
    flood = """python3 - <<'END'
import socket
for port in range(1024, 20000):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("0.0.0.0", port))
        s.sendto(b"x", ("203.0.113.2", 9))
END"""
    before = forwarded()
    sandbox.commands.run(flood)
    assert 8000 < forwarded() - before < 8400
    assert not reaches(sandbox, OUTSIDE)


def forwarded() -> int:
    """Packets that the playing internet has received."""
    command = ["ip", "-n", "berm-outside", "-j", "-s", "link", "show", "eth0"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(json.loads(done.stdout)[0]["stats64"]["rx"]["packets"])


def test_nobody_routes_into_a_sandbox_from_outside(sandbox: Sandbox) -> None:
    assert sandbox.commands.run("ip -6 address show scope global").stdout == ""
    assert sandbox.commands.run("ip -6 address show dev eth0").stdout == ""


def test_every_user_may_ping_itself_and_listen_on_any_port(sandbox: Sandbox) -> None:
    script = "import socket; socket.create_server(('0.0.0.0', 80)); print('listens')"
    assert sandbox.commands.run(f'python3 -c "{script}"').stdout == "listens\n"
    script = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1); print('pings')"
    assert sandbox.commands.run(f'python3 -c "{script}"').stdout == "pings\n"


def test_names_are_resolved_from_hosts_and_resolv_conf(sandbox: Sandbox) -> None:
    assert sandbox.commands.run("getent hosts localhost").stdout
    assert sandbox.commands.run("getent hosts $(hostname)").stdout
    assert sandbox.commands.run("grep -c nameserver /etc/resolv.conf").stdout.strip() != "0"
