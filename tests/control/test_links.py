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
