import html
import json

import pytest

from berm.gateway import answers
from berm.gateway.answers import RefusalError
from berm.gateway.hosts import Target

TARGET = Target("i" + "a" * 19, 3000)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("refusal", "fields"),
    [
        (
            answers.sandbox_not_found(TARGET),
            {"sandboxId": TARGET.sandbox_id, "message": "The sandbox was not found", "code": 502},
        ),
        (
            answers.port_not_open(TARGET),
            {
                "sandboxId": TARGET.sandbox_id,
                "message": "The sandbox is running but port is not open",
                "port": 3000,
                "code": 502,
            },
        ),
        (
            answers.paused(TARGET),
            {"sandboxId": TARGET.sandbox_id, "message": "The sandbox was not found", "code": 502},
        ),
        (
            answers.changing(TARGET),
            {"sandboxId": TARGET.sandbox_id, "message": "The sandbox is changing its state", "code": 409},
        ),
        (answers.bad_request("no"), {"message": "no", "code": 400}),
    ],
)
def test_json_has_the_fields_that_the_sdks_read(refusal: RefusalError, fields: dict[str, object]) -> None:
    headers, body = refusal.render(accept="")
    assert json.loads(body) == fields
    assert dict(headers) == {b"content-type": b"application/json", b"content-length": b"%d" % len(body)}


@pytest.mark.parametrize(
    ("accept", "is_html"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("text/*;q=0.5", True),
        ("application/json;q=0.1, TEXT/HTML;Q=0.2", True),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("text/html;q=0.5, application/json", False),
        ("text/html;q=0", False),
        ("text/html;q=much", False),
        ("text/html, application/json", False),
    ],
)
def test_html_only_where_it_is_preferred(accept: str, is_html: bool) -> None:
    headers, body = answers.port_not_open(TARGET).render(accept)
    assert dict(headers)[b"content-type"].startswith(b"text/html") is is_html
    assert body.startswith(b"<!doctype html>") is is_html


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (answers.port_not_open(TARGET), "bind to 0.0.0.0"),
        (answers.paused(TARGET), "It is paused"),
        (answers.sandbox_not_found(TARGET), "It has ended"),
        (answers.no_traffic_token(TARGET), "trafficAccessToken"),
        (answers.wrong_traffic_token(TARGET), "trafficAccessToken"),
    ],
)
def test_pages_say_what_to_do(refusal: RefusalError, said: str) -> None:
    _, body = refusal.render(BROWSER)
    page = body.decode()
    assert said in page
    assert refusal.message in html.unescape(page)
    assert f"Sandbox {TARGET.sandbox_id}, port {TARGET.port}" in page


def test_page_escapes_what_the_client_sent() -> None:
    _, body = answers.bad_request("<script>").render(BROWSER)
    assert b"<script>" not in body
    assert b"&lt;script&gt;" in body


def test_to_bytes_is_a_whole_closing_response() -> None:
    head, _, body = answers.not_a_sandbox().to_bytes().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert b"\r\nconnection: close" in head
    assert b"content-length: %d" % len(body) in head
