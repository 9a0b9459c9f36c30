"""Certificates from a real ACME server, pebble, which looks records up in a real name server beside it."""

import asyncio
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from berm.errors import BermError
from berm.gateway.acme import due
from berm.gateway.certificate import Certificate
from berm.gateway.renewal import Order, keep
from tests.certificates import Authority
from tests.instance import free_port

HOOK = """#!{python}
import json, sys, urllib.request
action, name, value = sys.argv[1:]
call = "set-txt" if action == "present" else "clear-txt"
body = json.dumps({{"host": name + ".", "value": value}}).encode()
urllib.request.urlopen("http://127.0.0.1:{port}/" + call, body).read()
with open("{log}", "a") as log: print(action, name, file=log)
sys.exit({code})
"""


class Pebble:
    """The authority as its clients see it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "hook.log"
        self.url = f"https://localhost:{free_port()}/dir"
        self.management = free_port()
        self._port = int(self.url.rpartition(":")[2].partition("/")[0])
        self._authority = Authority.make(directory)
        self.trusted = str(self._authority.certificate)

    @contextmanager
    def running(self) -> Iterator["Pebble"]:
        issued, names = self._authority.issue("pebble", "localhost"), free_port()
        settings = {
            "listenAddress": f"127.0.0.1:{self._port}",
            "managementListenAddress": f"127.0.0.1:{free_port()}",
            "certificate": str(issued.chain),
            "privateKey": str(issued.key),
            "httpPort": 1,
            "tlsPort": 1,
        }
        config = self.directory / "pebble.json"
        config.write_text(json.dumps({"pebble": settings}))
        server = f"127.0.0.1:{names} -management 127.0.0.1:{self.management}"
        dns = ["pebble-challtestsrv", "-http01=", "-https01=", "-tlsalpn01=", "-dns01", *server.split()]
        authority = ["pebble", "-config", str(config), "-dnsserver", f"127.0.0.1:{names}"]
        with ExitStack() as stack:
            for command in (dns, authority):
                stack.enter_context(program(command, self.directory / f"{command[0]}.log"))
            for port in (self._port, self.management):
                wait_for(port)
            yield self

    def order(self, code: int = 0, domain: str = "sandboxes.example.com") -> Order:
        hook = self.directory / f"hook-{code}"
        hook.write_text(HOOK.format(python=sys.executable, port=self.management, log=self.log, code=code))
        hook.chmod(0o755)
        return Order(self.url, "one@example.com", str(hook), domain, self.directory / "tls")

    def obtain(self, order: Order) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "REQUESTS_CA_BUNDLE": self.trusted}
        return subprocess.run(order.command, env=env, text=True, capture_output=True, check=False)


@contextmanager
def program(command: list[str], log: Path) -> Iterator[None]:
    # It would wait before it looks, and refuse some good requests, to try its clients.
    env = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=env)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def wait_for(port: int) -> None:
    while True:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return


@pytest.fixture(scope="module")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with Pebble(tmp_path_factory.mktemp("pebble")).running() as pebble:
        yield pebble


def certificate(order: Order) -> x509.Certificate:
    return x509.load_pem_x509_certificate(order.chain.read_bytes())


def test_a_wildcard_certificate_is_obtained_once_and_again_when_it_is_old(pebble: Pebble) -> None:
    order = pebble.order()
    assert due(order, datetime.now(UTC))
    done = pebble.obtain(order)
    assert done.returncode == 0, done.stderr
    first = certificate(order)
    names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {
        "sandboxes.example.com",
        "*.sandboxes.example.com",
    }
    assert order.key.stat().st_mode & 0o077 == 0
    assert order.account.stat().st_mode & 0o077 == 0
    Certificate(order.chain, order.key).load()
    ssl.create_default_context().load_cert_chain(order.chain, order.key)

    record = "_acme-challenge.sandboxes.example.com"
    assert (
        sorted(pebble.log.read_text().splitlines()) == [f"cleanup {record}"] * 2 + [f"present {record}"] * 2
    )

    assert pebble.obtain(order).returncode == 0
    assert certificate(order) == first, "it is not due yet"
    life = first.not_valid_after_utc - first.not_valid_before_utc
    assert not due(order, first.not_valid_before_utc + life / 2)
    assert due(order, first.not_valid_after_utc - life / 4)

    other = pebble.order(domain="other.example.com")
    assert due(other, datetime.now(UTC)), "it is for other names"
    assert pebble.obtain(other).returncode == 0, "the account is known already"
    assert certificate(other) != first


def test_a_hook_that_fails_is_named_and_changes_nothing(pebble: Pebble) -> None:
    order = pebble.order(code=3, domain="failing.example.com")
    order.directory.mkdir(exist_ok=True)
    before = {path.name: path.read_bytes() for path in order.directory.glob("*.pem")}
    done = pebble.obtain(order)
    assert done.returncode == 1
    assert "hook-3" in done.stderr
    assert "failing.example.com" in done.stderr
    assert {path.name: path.read_bytes() for path in (order.chain, order.key) if path.exists()} == {
        name: content for name, content in before.items() if name != "account.pem"
    }


def test_an_authority_that_is_not_there(pebble: Pebble, tmp_path: Path) -> None:
    order = Order(f"https://localhost:{free_port()}/dir", "", "/bin/true", "x.example.com", tmp_path)
    done = pebble.obtain(order)
    assert done.returncode == 1
    assert done.stderr.startswith("no certificate for x.example.com from https://localhost:")


@pytest.mark.parametrize("text", [None, "", "nonsense"])
def test_what_is_no_certificate_is_due(tmp_path: Path, text: str | None) -> None:
    order = Order("", "", "", "x.example.com", tmp_path)
    if text is not None:
        order.chain.write_text(text)
    assert due(order, datetime.now(UTC) - timedelta(days=9999))


@pytest.mark.parametrize(
    ("domain", "hook", "said"),
    [("", "/bin/true", "BERM_DOMAIN is not"), ("x.example.com", "/no/such", "not a program")],
)
def test_what_could_never_be_obtained_is_refused(tmp_path: Path, domain: str, hook: str, said: str) -> None:
    Order("https://ca/dir", "", "/bin/true", "x.example.com", tmp_path).check()
    with pytest.raises(BermError, match=said):
        Order("https://ca/dir", "", hook, domain, tmp_path).check()


async def test_it_is_kept_fresh_while_the_server_runs(
    pebble: Pebble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", pebble.trusted)
    order = replace(pebble.order(), directory=tmp_path)
    task = asyncio.create_task(keep(order))
    while not order.chain.exists():
        await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    Certificate(order.chain, order.key).load()
