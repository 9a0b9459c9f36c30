"""Values that break careless servers, in every field, parameter and path of the interface."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote_from_bytes

import httpx
import pytest

from tests.conformance.interface import Operation, read
from tests.conformance.things import Things
from tests.serving import Served

VALUES = (
    "null",
    "true",
    "-1",
    "1.5",
    "99999999999",
    "9" * 4301,
    "1e400",
    "-1e-400",
    "NaN",
    '""',
    '"\\u0000"',
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\u202e\\ufeff\\uffff"',
    '"../../etc/passwd"',
    '"%00%2f"',
    '"' + "x" * 70000 + '"',
    "[]",
    "[[]]",
    "[null]",
    "{}",
    '{"": ""}',
    '{"\\ud800": "\\ud800"}',
    "[" * 3000 + "]" * 3000,
    '{"a":' * 3000 + "1" + "}" * 3000,
)
"""Texts of JSON, or nearly."""

BODIES = (
    b"",
    b"null",
    b"[]",
    b'"text"',
    b"{",
    b"{}",
    b"\xff\xfe{}",
    b"\xef\xbb\xbf{}",
    b'{"a": 1, "a": 2}',
    b"[" * 200_000,
    b'{"a":' * 200_000,
    b"\x00" * 1000,
    b"\x1f\x8b\x08\x00rubbish",
    b"a=1&b=2",
)

TYPES = (
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "text/\xe9",
    "nonsense",
    "",
)

WORDS = (
    b"",
    b"\x00",
    b"\xff\xfe",
    b"..",
    b"../..",
    b"a/b:c@d",
    b"%2500",
    b"-1",
    b"9" * 400,
    b"x" * 8000,
    "\ud800".encode("utf-8", "surrogatepass"),
    "\u202e\U0001f4a5".encode(),
    b"' OR 1=1 --",
    b"1e400",
    b"NaN",
)
"""Parameters and segments of a path, before they are percent-encoded."""

API = read("api")
OPERATIONS = pytest.mark.parametrize("operation", API.operations, ids=lambda operation: operation.name)
WITH_BODY = pytest.mark.parametrize(
    "operation", [o for o in API.operations if o.body], ids=lambda operation: operation.name
)

NAMES = {"str": "base", "int": 1, "long": 1, "bool": True, "float": 1.0}


@pytest.fixture(scope="module")
def things(untouched: Served) -> Things:
    return Things(untouched.client)


def check(response: httpx.Response) -> None:
    """Any answer but a failure of ours; an error has the body that SDKs read."""
    assert response.status_code < 500 or response.status_code in (501, 503), response.text
    if response.status_code >= 400:
        assert response.json()["code"] == response.status_code
        assert response.json()["message"]


def spoilt(operation: Operation) -> Iterator[bytes]:
    """Bodies with all required fields, one of whose fields has a nasty value."""
    shape = API.openapi()["components"]["schemas"][operation.body.removeprefix("?")]
    whole = {name: NAMES.get(kind(shape["properties"][name]), []) for name in shape["required"]}
    for name in shape["properties"]:
        for value in VALUES:
            rest = {other: text for other, text in whole.items() if other != name}
            yield f"{json.dumps(rest)[:-1]}{', ' if rest else ''}{json.dumps(name)}: {value}}}".encode()


def kind(schema: Any) -> str:
    return {"string": "str", "integer": "int", "boolean": "bool"}.get(schema.get("type", ""), "")


@WITH_BODY
def test_fields(untouched: Served, things: Things, operation: Operation) -> None:
    path = things.target(operation.path)
    for body in spoilt(operation):
        headers = {"content-type": "application/json"}
        check(untouched.client.request(operation.method, path, content=body, headers=headers))


@WITH_BODY
def test_bodies(untouched: Served, things: Things, operation: Operation) -> None:
    path = things.target(operation.path)
    for media, body in [*((TYPES[0], body) for body in BODIES), *((media, b"{}") for media in TYPES)]:
        headers = [(b"content-type", media.encode("latin-1"))]
        check(untouched.client.request(operation.method, path, content=body, headers=headers))


@OPERATIONS
def test_parameters(untouched: Served, things: Things, operation: Operation) -> None:
    path = things.target(operation.path)
    for parameter in operation.query:
        name = parameter.partition(":")[0].rstrip("?")
        for word in WORDS:
            query = f"{name}={quote_from_bytes(word, safe='')}"
            check(untouched.client.request(operation.method, f"{path}?{query}"))


@OPERATIONS
def test_paths(untouched: Served, operation: Operation) -> None:
    parts = [part for part in operation.path.split("/") if part.startswith("{")]
    for part in parts:
        for word in WORDS:
            path = operation.path.replace(part, quote_from_bytes(word, safe=""))
            check(untouched.client.request(operation.method, path))
