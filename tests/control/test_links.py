"""Links that the official SDK signs are known by the token that signed them."""

from urllib.parse import parse_qsl, urlsplit

import pytest
from e2b.sandbox.signature import Operation, get_signature

from berm.control.links import Links

TOKENS = {"one": "token-of-one", "two": "token-of-two"}


@pytest.fixture
def links() -> Links:
    links = Links()
    for name, token in TOKENS.items():
        links.add(name, token)
    links.add("open", None)
    return links


def query(
    path: str, operation: Operation, user: str | None, token: str, seconds: int | None = None
) -> dict[str, str]:
    signed = get_signature(path, operation, user, token, seconds)
    fields = {"path": path, "signature": signed["signature"], "username": user or ""}
    if signed["expiration"]:
        fields["signature_expiration"] = str(signed["expiration"])
    return fields


@pytest.mark.parametrize("seconds", [None, 60, -60])
@pytest.mark.parametrize("user", [None, "root"])
@pytest.mark.parametrize("path", ["file", "/with space/é:x", ""])
def test_the_signer_is_known(links: Links, path: str, user: str | None, seconds: int | None) -> None:
    for name, token in TOKENS.items():
        assert links.signer("GET", query(path, "read", user, token, seconds), TOKENS) == name
        assert links.signer("POST", query(path, "write", user, token, seconds), TOKENS) == name


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("POST", {}),
        ("DELETE", {}),
        ("GET", {"path": "other"}),
        ("GET", {"username": "root"}),
        ("GET", {"signature": "v1_nonsense"}),
        ("GET", {"signature": "\udcff"}),
        ("GET", {"signature_expiration": "99999999999"}),
        ("GET", {"signature_expiration": "\udcff"}),
    ],
)
def test_what_nobody_signed_is_nobodys(links: Links, method: str, change: dict[str, str]) -> None:
    assert links.signer(method, query("file", "read", None, TOKENS["one"]) | change, TOKENS) is None


def test_a_sandbox_that_does_not_run_signs_nothing(links: Links) -> None:
    link = query("file", "read", None, TOKENS["one"])
    assert links.signer("GET", link, {"two"}) is None
    assert links.signer("GET", link, TOKENS) == "one"
    links.forget("one")
    assert links.signer("GET", link, TOKENS) is None


def test_which_token_an_agent_takes(links: Links) -> None:
    assert links.takes("one", TOKENS["one"])
    assert links.takes("open", "")
    for name, given in (("one", TOKENS["two"]), ("one", ""), ("unknown", ""), ("unknown", "x")):
        assert not links.takes(name, given)


def test_the_sdks_own_link_reads_the_same() -> None:
    text = urlsplit("http://h/files?path=a%20b&username=user&signature=v1_x%2By").query
    assert dict(parse_qsl(text)) == {"path": "a b", "username": "user", "signature": "v1_x+y"}


class Counted(dict[str, str]):
    """Sandboxes that run; counts how often it is asked for one."""

    asked = 0

    def __contains__(self, name: object) -> bool:
        self.asked += 1
        return super().__contains__(name)


@pytest.mark.parametrize(
    "change",
    [
        {"signature": ""},
        {"signature": "v1_short"},
        {"signature": "v2_" + "a" * 43},
        {"signature": "v1_" + "a" * 42 + "é"},
        {"signature": "v1_" + "a" * 42 + "b"},
        {"signature": "v1_" + "a" * 44},
        {"path": "p" * 4097},
        {"path": "é" * 2049},
        {"signature_expiration": "1" * 19},
        {"signature_expiration": "-1"},
    ],
)
def test_no_token_is_tried_for_what_no_sdk_makes(links: Links, change: dict[str, str]) -> None:
    """Who asks needs no key, and each token costs."""
    running, made = Counted(TOKENS), query("file", "read", None, TOKENS["one"], 60)
    assert links.signer("GET", made | change, running) is None
    assert running.asked == 0
    assert links.signer("GET", made, running) == "one"
    assert running.asked == 1


class Expensive(str):
    """A user's name that tells how often it is read."""

    read = 0

    def encode(self, *how: str) -> bytes:
        type(self).read += 1
        return super().encode(*how)


def test_what_precedes_the_token_is_read_once_for_all(links: Links) -> None:
    made = query("p" * 4096, "read", "u" * 9000, TOKENS["two"])
    user = Expensive(made["username"])
    assert links.signer("GET", made | {"username": user}, TOKENS) == "two"
    assert Expensive.read == 1
