"""A berm that is given an authority and a domain speaks TLS with what it obtained itself."""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.gateway.test_acme import Pebble
from tests.instance import Instance, free_port


@pytest.fixture
def pebble(tmp_path: Path) -> Iterator[Pebble]:
    with Pebble(tmp_path).running() as pebble:
        yield pebble


@pytest.fixture
def restarted(berm: Instance, pebble: Pebble) -> Iterator[Instance]:
    settings = {
        "BERM_DOMAIN": "berm.localhost",
        "BERM_TLS_PORT": str(free_port()),
        "BERM_ACME_AUTHORITY": pebble.url,
        "BERM_ACME_HOOK": pebble.order().hook,
        "REQUESTS_CA_BUNDLE": pebble.trusted,
    }
    berm.berm("down")
    try:
        changed = Instance(berm.home, {**berm.env, **settings})
        changed.berm("up")
        yield changed
    finally:
        berm.berm("down")
        berm.berm("up")


def test_it_speaks_tls_with_what_it_obtained(restarted: Instance) -> None:
    chain = restarted.home / "tls/chain.pem"
    chain.unlink(missing_ok=True)
    restarted.berm("down")
    restarted.berm("up")
    while not chain.exists():
        time.sleep(0.1)
    trusting = ssl.create_default_context(cafile=str(chain))
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    address = ("127.0.0.1", int(restarted.env["BERM_TLS_PORT"]))
    found = None
    while found is None:
        with (
            suppress(ssl.SSLError, ConnectionError),
            socket.create_connection(address) as plain,
            trusting.wrap_socket(plain, server_hostname="8000-x.berm.localhost") as secure,
        ):
            found = secure.getpeercert()
        time.sleep(0.1)
    assert ("DNS", "*.berm.localhost") in found["subjectAltName"]


def test_settings_that_contradict_each_other(restarted: Instance) -> None:
    restarted.berm("down")
    wrong = Instance(restarted.home, {**restarted.env, "BERM_TLS_CERT": "x"})
    done = wrong.berm("up", check=False)
    assert done.returncode
    assert "BERM_ACME_AUTHORITY as well" in done.stderr
