import logging

import httpx
import pytest

from berm.api.requests.secrets import NewSecret
from tests.api.checks import check_error
from tests.serving import Served

VALUE = "plain-value-that-nobody-may-find"
JSON = {"Content-Type": "application/json"}


def make(served: Served, name: str = "token", **fields: object) -> httpx.Response:
    return served.client.post("/secrets", json={"name": name, "value": VALUE, **fields})


def test_a_secret_from_its_making_to_its_end(served: Served) -> None:
    made = make(served, "Token", metadata={"of": "us"})
    assert made.status_code == 201
    secret = made.json()
    assert set(secret) == {"secretID", "name", "currentVersion", "metadata", "createdAt", "updatedAt"}
    assert secret["secretID"].startswith("sec_")
    assert (secret["name"], secret["currentVersion"], secret["metadata"]) == ("token", 1, {"of": "us"})
    for reference in (secret["secretID"], "token", "TOKEN"):
        assert served.client.get(f"/secrets/{reference}").json() == secret
    assert served.client.get("/secrets").json() == [secret]
    updated = served.client.post("/secrets/token", json={"value": "new"})
    assert updated.status_code == 200
    assert (updated.json()["currentVersion"], updated.json()["metadata"]) == (2, {"of": "us"})
    assert served.client.post("/secrets/token", json={"value": "", "metadata": {}}).json()["metadata"] == {}
    assert served.client.delete("/secrets/token").status_code == 204
    check_error(served.client.delete("/secrets/token"), 404, "the secret was not found")
    check_error(served.client.get("/secrets/token"), 404, "not found")
    check_error(served.client.post("/secrets/token", json={"value": "x"}), 404, "not found")
    assert served.client.get("/secrets").json() == []


def test_a_value_that_is_taken_is_in_no_log(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        assert make(served).status_code == 201
        assert served.client.post("/secrets/token", json={"value": VALUE}).status_code == 200
    assert "POST" in caplog.text
    assert VALUE not in caplog.text


def test_a_value_is_hidden_in_what_is_printed_of_a_request() -> None:
    body = NewSecret(name="token", value=VALUE)
    assert (VALUE in repr(body), VALUE in str(body), body.content().value) == (False, False, VALUE)


def test_secrets_are_listed_page_by_page(served: Served) -> None:
    for number in range(5):
        make(served, f"name-{number}")
    found, token = [], ""
    while True:
        page = served.client.get("/secrets", params={"limit": 2, **({"nextToken": token} if token else {})})
        found += [secret["name"] for secret in page.json()]
        token = page.headers.get("x-next-token", "")
        if not token:
            break
    assert found == [f"name-{number}" for number in (4, 3, 2, 1, 0)]


def test_a_name_is_taken_once(served: Served) -> None:
    make(served)
    check_error(make(served, "TOKEN"), 409, "there is a secret 'token' already")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (f'{{"name": "a", "value": ["{VALUE}"]}}', "value is wrong"),
        (f'{{"name": "a", "value": {{"{VALUE}": 1}}}}', "value is wrong"),
        (f'{{"name": "a", "value": "{VALUE}\\ud800"}}', "value is wrong"),
        (f'{{"name": "{VALUE}!", "value": "a"}}', "the name of a secret is"),
        (f'{{"name": "{VALUE}\\ud800", "value": "a"}}', "the name of a secret is"),
        (f'{{"name": "a", "value": "{VALUE}"', "the body is not JSON"),
        (f'["{VALUE}"]', "not a JSON object"),
        (f'"{VALUE}"', "not a JSON object"),
        (f'{{"name": "a", "value": "{VALUE * 9000}"}}', "value has"),
        (f'{{"value": "{VALUE}"}}', "name is missing"),
        (f'{{"name": "a", "Value": "{VALUE}"}}', "value is missing"),
        (f'{{"name": "a", "value": "{VALUE}", "metadata": {{"a": "\\u0000"}}}}', "metadata.a is"),
        (f'{{"name": "a", "value": "{VALUE}", "metadata": {{"a": "\\ud800"}}}}', "metadata"),
        (f'{{"name": "a", "value": "{VALUE}", "metadata": {{"\\ud800": "a"}}}}', "metadata"),
    ],
)
def test_no_refusal_tells_a_value(
    untouched: Served, body: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        response = untouched.client.post("/secrets", content=body, headers=JSON)
    check_error(response, 400, said)
    assert VALUE not in response.text
    assert VALUE not in caplog.text
