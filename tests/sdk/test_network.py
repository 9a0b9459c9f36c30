"""What a sandbox reaches: the internet, which a namespace plays here, and nothing near the host."""

from collections.abc import Callable

import pytest
from e2b import CommandExitException, Sandbox

from tests.instance import Instance
from tests.outside import ADDRESS, HOST, PRIVATE, PRIVATE_HOST, received


def reaches(sandbox: Sandbox, address: str) -> bool:
    try:
        sandbox.commands.run(f"curl --silent --max-time 2 --output /dev/null http://{address}/")
    except CommandExitException as failure:
        # No route, or refused; timed out; reset by the host's proxy.
        assert failure.exit_code in (7, 28, 56), failure.stderr
        return False
    return True


@pytest.mark.usefixtures("outside")
def test_the_internet_is_reached_unless_it_is_off(create: Callable[..., Sandbox]) -> None:
    assert reaches(create(), ADDRESS)
    assert not reaches(create(allow_internet_access=False), ADDRESS)


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
        PRIVATE_HOST,
        HOST,
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
    forge = f"""python3 - <<'END'
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
packet = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28, 1, 0, 64, 17, 0,
    socket.inet_aton("198.51.100.9"), socket.inet_aton("{ADDRESS}")) + struct.pack("!HHHH", 9, 9, 8, 0)
for _ in range(3):
    s.sendto(packet, ("{ADDRESS}", 0))
END"""
    before = received()
    sandbox.commands.run(forge, user="root")
    assert received() == before


@pytest.mark.usefixtures("outside")
def test_one_sandbox_cannot_fill_the_hosts_table_of_connections(sandbox: Sandbox) -> None:
    flood = f"""python3 - <<'END'
import socket
for port in range(1024, 20000):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("0.0.0.0", port))
        s.sendto(b"x", ("{ADDRESS}", 9))
END"""
    before = received()
    sandbox.commands.run(flood)
    assert 8000 < received() - before < 8400
    assert not reaches(sandbox, ADDRESS)


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
