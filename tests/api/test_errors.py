import json

import pytest

from berm.api.errors import STATUS
from berm.api.later import CALLS
from berm.api.limits import MAX_BODY
from berm.errors import BermError, Code
from berm.models import Running, SandboxSpec
from tests.api.checks import check_error
from tests.conftest import Serve
from tests.fakes import FakeNode
from tests.serving import Served

JSON = {"Content-Type": "application/json"}


class FailingNode(FakeNode):
    """Every start fails with the error it was made with."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    async def create(self, spec: SandboxSpec) -> Running:
        raise self._error


def test_every_code_has_a_status() -> None:
    assert set(STATUS) == set(Code)


@pytest.mark.parametrize("code", Code)
def test_a_code_becomes_its_status(serve: Serve, code: Code) -> None:
    served = serve(FailingNode(BermError(code, "it failed", "mend it")))
    response = served.client.post("/v2/sandboxes", json={"templateID": "base"})
    check_error(response, STATUS[code], "it failed (mend it)")


RETRIES = {429: ("true", "1"), 503: ("true", "2"), 504: ("false", None)}


@pytest.mark.parametrize("code", Code)
def test_an_answer_tells_whether_and_when_to_ask_again(serve: Serve, code: Code) -> None:
    served = serve(FailingNode(BermError(code, "it failed")))
    response = served.client.post("/v2/sandboxes", json={"templateID": "base"})
    told = (response.headers.get("Should-Retry"), response.headers.get("Retry-After"))
    assert told == RETRIES.get(STATUS[code], (None, None))


def test_who_knows_when_says_so(serve: Serve) -> None:
    served = serve(FailingNode(BermError(Code.RATE_LIMITED, "too many", retry_after=7)))
    response = served.client.post("/v2/sandboxes", json={"templateID": "base"})
    assert (response.headers["Should-Retry"], response.headers["Retry-After"]) == ("true", "7")


def test_the_unexpected_is_logged_under_an_id(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    served = serve(FailingNode(ZeroDivisionError("nobody foresaw this")))
    response = served.client.post("/v2/sandboxes", json={"templateID": "base"})
    check_error(response, 500, "unexpected ZeroDivisionError")
    assert "nobody foresaw this" not in response.text
    request_id = response.json()["message"].split("look for ")[1].split()[0]
    assert request_id in caplog.text
    assert "nobody foresaw this" in caplog.text


def test_an_unknown_path_is_not_found(untouched: Served) -> None:
    check_error(untouched.client.get("/nope"), 404, "GET /nope is not a call of this API")
    check_error(untouched.client.get("/sandboxes/"), 404, "GET /sandboxes/ is not")


def test_an_unknown_method_is_not_allowed(untouched: Served) -> None:
    response = untouched.client.put("/sandboxes/x")
    check_error(response, 405, "PUT /sandboxes/x is not a call of this API")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"templateID": NaN}',
        b'{"templateID": "base", "timeout": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_body_that_is_no_json_object_is_refused(untouched: Served, body: bytes) -> None:
    check_error(untouched.client.post("/v2/sandboxes", content=body, headers=JSON), 400, "")


def test_a_body_of_another_type_is_refused_with_a_hint(untouched: Served) -> None:
    response = untouched.client.post("/v2/sandboxes", data={"templateID": "base"})
    check_error(response, 400, "Content-Type: application/json")


def test_a_body_may_be_as_large_as_the_limit(served: Served) -> None:
    body = json.dumps({"templateID": "base"}).encode().ljust(MAX_BODY)
    assert served.client.post("/v2/sandboxes", content=body, headers=JSON).status_code == 201


@pytest.mark.parametrize("chunked", [False, True])
def test_a_larger_body_is_refused_while_it_is_read(untouched: Served, chunked: bool) -> None:
    body = b"x" * (MAX_BODY + 1)
    response = untouched.client.post("/v2/sandboxes", content=iter([body]) if chunked else body, headers=JSON)
    check_error(response, 413, f"larger than {MAX_BODY} bytes")


@pytest.mark.parametrize(("method", "path", "what"), CALLS)
def test_a_call_that_is_not_offered_says_so(untouched: Served, method: str, path: str, what: str) -> None:
    response = untouched.client.request(method, path.replace("{", "").replace("}", ""))
    check_error(response, 501, f" {what}")
