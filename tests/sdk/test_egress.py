"""What a sandbox may reach outside, as configured: addresses and networks, at creation and while it runs."""

import re
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from e2b import ALL_TRAFFIC, AsyncSandbox, CommandExitException, Sandbox, SandboxException

from berm.node.daemon import instance
from tests.instance import Instance
from tests.outside import ADDRESS, HOST, NETWORK, OTHER, PRIVATE, received
from tests.sdk.test_network import reaches

pytestmark = pytest.mark.usefixtures("outside")

ONLY_ONE = {"allow_out": [ADDRESS], "deny_out": [ALL_TRAFFIC]}


def reached(sandbox: Sandbox, *addresses: str) -> list[bool]:
    return [reaches(sandbox, address) for address in addresses]


def table(berm: Instance) -> str:
    command = ["nft", "list", "table", "inet", f"berm-{instance(berm.home)}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_what_is_allowed_wins_over_what_is_denied(create: Callable[..., Sandbox]) -> None:
    sandbox = create(network=ONLY_ONE)
    assert reached(sandbox, ADDRESS, f"{ADDRESS}:8080", OTHER) == [True, True, False]
    info = sandbox.get_info()
    assert info.network == {**ONLY_ONE, "allow_public_traffic": True}


def test_one_network_is_denied_and_all_else_is_open(create: Callable[..., Sandbox]) -> None:
    sandbox = create(network={"deny_out": [f"{OTHER}/32"]})
    assert reached(sandbox, ADDRESS, OTHER) == [True, False]
    sandbox = create(network={"allow_out": [OTHER], "deny_out": lambda ctx: [NETWORK]})
    assert reached(sandbox, ADDRESS, OTHER) == [False, True]


def test_internet_that_is_off_leaves_what_is_allowed(create: Callable[..., Sandbox]) -> None:
    sandbox = create(network={"allow_out": [ADDRESS]}, allow_internet_access=False)
    assert reached(sandbox, ADDRESS, OTHER) == [True, False]


def test_nothing_opens_what_is_not_public(create: Callable[..., Sandbox], berm: Instance) -> None:
    other = create()
    other.commands.run("python3 -m http.server 8000", background=True)
    inside = other.commands.run("hostname -I").stdout.strip()
    near = [PRIVATE, HOST, f"{inside}:8000", "169.254.169.254"]
    sandbox = create(
        network={"allow_out": [ALL_TRAFFIC, "10.0.0.0/8", "192.168.0.0/16", "169.254.0.0/16", HOST]}
    )
    gateway = sandbox.commands.run("ip route | awk '/default/ {print $3}'").stdout.strip()
    near += [f"{gateway}:{berm.env['BERM_PORT']}", f"{gateway}:15001"]
    assert reached(sandbox, ADDRESS, *near) == [True] + [False] * len(near)


def test_a_running_sandbox_is_closed_and_opened(create: Callable[..., Sandbox]) -> None:
    sandbox = create()
    for update, wanted in (
        ({"deny_out": [ALL_TRAFFIC]}, [False, False]),
        (ONLY_ONE, [True, False]),
        ({"allow_internet_access": False}, [False, False]),
        ({"deny_out": [ADDRESS]}, [False, True]),
        ({}, [True, True]),
    ):
        options: Any = update
        sandbox.update_network(options)
        assert reached(sandbox, ADDRESS, OTHER) == wanted, update


def test_one_that_began_without_internet_is_opened_too(create: Callable[..., Sandbox]) -> None:
    sandbox = create(allow_internet_access=False)
    assert reached(sandbox, ADDRESS) == [False]
    Sandbox.update_network(sandbox.sandbox_id, {})
    assert reached(sandbox, ADDRESS) == [True]
    assert sandbox.get_info().allow_internet_access is None


async def test_the_asynchronous_half_updates_alike(asandbox: AsyncSandbox) -> None:
    await asandbox.update_network({"deny_out": lambda ctx: [ctx.all_traffic]})
    with pytest.raises(CommandExitException):
        await asandbox.commands.run(f"curl --silent --max-time 2 http://{ADDRESS}/")
    await AsyncSandbox.update_network(asandbox.sandbox_id, {})
    assert (await asandbox.commands.run(f"curl --silent http://{ADDRESS}/")).exit_code == 0


def test_a_connection_that_has_become_forbidden_is_cut(sandbox: Sandbox) -> None:
    begun = threading.Event()

    def print_some(text: str) -> None:
        begun.set()

    script = f"curl --silent --no-buffer --max-time 60 http://{ADDRESS}/drip"
    with ThreadPoolExecutor() as pool:
        download = pool.submit(sandbox.commands.run, script, on_stdout=print_some)
        begun.wait()
        sandbox.update_network({"deny_out": [ADDRESS]})
        with pytest.raises(CommandExitException) as failure:
            download.result()
    assert failure.value.exit_code == 56  # its answer is cut short


def test_what_others_still_send_is_cut_too(sandbox: Sandbox) -> None:
    """A flow of UDP that goes on coming in, without an answer, would live on in the host's table."""
    script = f"""
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("{ADDRESS}", 5353))
s.send(b"one")
print(s.recv(9).decode(), flush=True)
sys.stdin.readline()
s.settimeout(1)
try:
    s.send(b"flood")
    print(s.recv(9).decode())
except OSError as failure:
    print(type(failure).__name__)
"""
    sandbox.files.write("udp.py", script)
    handle = sandbox.commands.run("python3 udp.py", background=True, stdin=True)
    seen = iter(stdout for stdout, _, _ in handle if stdout)
    assert next(seen) == "one\n"
    sandbox.update_network({"deny_out": [ADDRESS]})
    sandbox.commands.send_stdin(handle.pid, "go\n")
    assert next(seen) in ("TimeoutError\n", "PermissionError\n", "ConnectionRefusedError\n", "OSError\n")


def test_a_forged_address_does_not_borrow_what_another_may(create: Callable[..., Sandbox]) -> None:
    free, bound = create(), create(network={"deny_out": [ALL_TRAFFIC]})
    address = free.commands.run("hostname -I").stdout.strip()
    script = f"""
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
packet = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 34, 1, 0, 64, 17, 0,
    socket.inet_aton("{address}"), socket.inet_aton("{ADDRESS}"))
packet += struct.pack("!HHHH", 9, 5353, 14, 0) + b"forged"
for _ in range(3):
    s.sendto(packet, ("{ADDRESS}", 0))
"""
    bound.files.write("forge.py", script)
    before = received()
    bound.commands.run("python3 /home/user/forge.py", user="root")
    assert received() == before


def test_root_inside_changes_neither_its_address_nor_its_route(create: Callable[..., Sandbox]) -> None:
    sandbox = create(network={"deny_out": [ALL_TRAFFIC]})
    for command in (
        "ip address add 10.99.0.1/32 dev eth0",
        "ip route replace default dev lo",
        "ip -6 address add fd00::2/64 dev eth0",
    ):
        with pytest.raises(CommandExitException, match="Operation not permitted"):
            sandbox.commands.run(command, user="root")
    with pytest.raises(CommandExitException):
        sandbox.commands.run("curl --silent --max-time 2 'http://[2001:db8::1]/'")


def test_dns_is_closed_with_all_else(create: Callable[..., Sandbox]) -> None:
    """Names carry data out as well as packets do."""
    ask = """
import socket
server = next(line.split()[1] for line in open("/etc/resolv.conf") if line.startswith("nameserver"))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
s.connect((server, 53))
try:
    s.send(b"x")
    s.send(b"x")
    s.recv(9)
except TimeoutError:
    print("sent")
except OSError as failure:
    print("refused")
"""
    sandbox = create(network={"allow_out": [ADDRESS], "deny_out": [ALL_TRAFFIC]})
    sandbox.files.write("ask.py", ask)
    assert sandbox.commands.run("python3 ask.py").stdout == "refused\n"


def test_two_updates_at_once_end_in_one_of_the_two(sandbox: Sandbox) -> None:
    with ThreadPoolExecutor() as pool:
        for _ in range(5):
            updates: list[Any] = [{"deny_out": [ADDRESS]}, {"deny_out": [OTHER]}]
            list(pool.map(sandbox.update_network, updates))
            network = sandbox.get_info().network
            assert network is not None
            denied = network["deny_out"]
            assert reached(sandbox, ADDRESS, OTHER) == [denied == [OTHER], denied == [ADDRESS]]


def test_an_update_of_one_that_ends_meanwhile_is_not_found(create: Callable[..., Sandbox]) -> None:
    sandbox = create()
    sandbox.kill()
    with pytest.raises(SandboxException, match=r"404|not found"):
        sandbox.update_network({})


def test_what_was_decided_outlives_server_and_launcher(
    create: Callable[..., Sandbox], berm: Instance
) -> None:
    made, updated = create(network=ONLY_ONE), create()
    updated.update_network({"deny_out": [ADDRESS]})
    for end in (berm.kill_server, berm.kill_launcher):
        end()
        berm.berm("up")
        for sandbox, wanted in ((made, [True, False]), (updated, [False, True])):
            again = Sandbox.connect(sandbox.sandbox_id)
            assert reached(again, ADDRESS, OTHER) == wanted


def test_nothing_is_left_of_a_sandbox_s_own_rules(create: Callable[..., Sandbox], berm: Instance) -> None:
    sandbox = create(network=ONLY_ONE)
    address = sandbox.commands.run("hostname -I").stdout.strip()
    named = re.compile(rf"\b{re.escape(address)}(?!\d)")
    assert named.search(table(berm))
    assert "egress-" in table(berm)
    sandbox.kill()
    assert not named.search(table(berm))


def test_creation_without_lists_leaves_the_firewall_alone(
    create: Callable[..., Sandbox], berm: Instance
) -> None:
    before = table(berm)
    create()
    create(allow_internet_access=False)
    assert table(berm) == before
