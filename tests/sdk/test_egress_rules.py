"""Headers that are set on a sandbox's requests to a host, and go to no other."""

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from e2b import ALL_TRAFFIC, Sandbox, SandboxException, Secret

from tests.instance import Instance
from tests.outside import ADDRESS, OTHER, SOCKS, Outside, internet
from tests.outside_server import PASSWORD, USER
from tests.sdk.named import resolving
from tests.sdk.test_egress_names import fetch

KEY = "Bearer of-good-news"
RULES: Any = {
    "allowed.test": [
        {"transform": {"headers": {"Authorization": KEY, "X-First": "one"}}},
        {"transform": {"headers": {"x-first": "two"}}},
    ]
}


@pytest.fixture(scope="module", autouse=True)
def outside(berm: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    directory = tmp_path_factory.mktemp("rules")
    with internet(directory) as outside, resolving(berm, directory):
        yield outside


def head(sandbox: Sandbox, url: str, options: str = "", at: str = ADDRESS) -> str:
    """The head of a request as the server got it."""
    command = f"curl --silent --max-time 15 --connect-to ::{at}: {options} {url}"
    return str(json.loads(sandbox.commands.run(command).stdout)["head"])


def test_headers_are_set_and_replaced(create: Callable[..., Sandbox]) -> None:
    sandbox = create(network={"rules": RULES, "allow_out": lambda ctx: [*ctx.rules, "other.test"]})
    seen = head(sandbox, "http://allowed.test/", "--header 'authorization: mine' --header 'X-Other: kept'")
    assert f"Authorization: {KEY}\r\n" in seen
    assert "x-first: two\r\n" in seen
    assert "X-Other: kept\r\n" in seen
    assert "mine" not in seen
    assert "one" not in seen
    assert KEY not in head(sandbox, "http://other.test/")


def test_they_go_to_the_host_and_not_to_who_takes_its_name(
    create: Callable[..., Sandbox], outside: Outside
) -> None:
    sandbox = create(network={"rules": RULES})
    assert fetch(sandbox, "http://allowed.test/", at=OTHER) == ADDRESS
    assert head(sandbox, "http://other.test/", at=OTHER).count("Host: other.test") == 1
    taken = [entry["head"] for entry in outside.seen() if entry.get("where") == OTHER]
    assert taken
    assert KEY not in "".join(taken)
    assert fetch(sandbox, "https://other.test/", at=OTHER) == f"{OTHER} other.test"


def test_a_rule_allows_nothing(create: Callable[..., Sandbox]) -> None:
    sandbox = create(network={"rules": RULES, "allow_out": [OTHER], "deny_out": [ALL_TRAFFIC]})
    assert fetch(sandbox, "http://other.test/", at=OTHER) == OTHER
    words = "berm: this sandbox may not reach allowed.test\n"
    assert fetch(sandbox, "http://allowed.test/", at=OTHER) == words
    sandbox.update_network({"rules": RULES, "deny_out": [ADDRESS]})
    assert fetch(sandbox, "http://allowed.test/", at=OTHER) == words


def test_they_are_set_before_the_proxy_is_asked(create: Callable[..., Sandbox]) -> None:
    proxy = {"address": f"{SOCKS}:1080", "username": USER, "password": PASSWORD}
    sandbox = create(network={"rules": RULES, "allow_out": ["allowed.test"], "egress_proxy": proxy})
    assert KEY in head(sandbox, "http://allowed.test/")


def test_they_are_replaced_and_cleared_while_it_runs(sandbox: Sandbox, berm: Instance) -> None:
    rules: Any = {"*.test": [{"transform": {"headers": {"X-New": "value-of-new"}}}]}
    sandbox.update_network({"rules": rules})
    assert "X-New: value-of-new\r\n" in head(sandbox, "http://allowed.test/")
    info = sandbox.get_info().network
    assert info is not None
    assert info["rules"] == rules
    kept = [path.read_bytes() for path in berm.home.glob("berm.db*")]
    assert kept
    assert not [content for content in kept if b"value-of-new" in content]
    sandbox.update_network({})
    assert "X-New" not in head(sandbox, "http://allowed.test/")


def test_a_secret_takes_its_place_outside(create: Callable[..., Sandbox]) -> None:
    """The newest value for each request, and never a request without it."""
    name = f"key-{uuid.uuid4()}"
    Secret.create(name, "value-one")
    headers = {"Authorization": f"Bearer ${{e2b.secrets.{name}}}"}
    sandbox = create(network={"rules": {"allowed.test": [{"transform": {"headers": headers}}]}})
    assert "Authorization: Bearer value-one\r\n" in head(sandbox, "http://allowed.test/")
    Secret.update(name, "value-two")
    assert "Authorization: Bearer value-two\r\n" in head(sandbox, "http://allowed.test/")
    assert "value-" not in str(sandbox.get_info().network)
    Secret.destroy(name)
    words = f"berm: a rule names the secret {name}, which is not there or is no header's value\n"
    assert fetch(sandbox, "http://allowed.test/") == words


def test_pausing_and_forking_keep_it_all(create: Callable[..., Sandbox]) -> None:
    sandbox = create(network={"rules": RULES, "allow_out": ["allowed.test"]})
    for keep_memory in (True, False):
        sandbox.pause(keep_memory=keep_memory)
        sandbox = sandbox.connect()
        assert KEY in head(sandbox, "http://allowed.test/")
        assert fetch(sandbox, "http://other.test/").startswith("berm: ")
    (fork,) = sandbox.fork(timeout=60)
    try:
        assert isinstance(fork, Sandbox)
        assert KEY in head(fork, "http://allowed.test/")
        assert fetch(fork, "http://other.test/").startswith("berm: ")
    finally:
        assert isinstance(fork, Sandbox)
        fork.kill()


def test_a_paused_sandbox_is_not_changed(sandbox: Sandbox) -> None:
    sandbox.pause()
    with pytest.raises(SandboxException, match=r"409: .* is not running now"):
        sandbox.update_network({})
    sandbox.connect()
    sandbox.update_network({})
