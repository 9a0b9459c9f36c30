import pytest

from tests.api.checks import check_error
from tests.serving import Served


def test_the_command_line_that_waits_is_told(untouched: Served) -> None:
    with untouched.connect("") as browser:
        response = browser.get("/docs/api/cli", params={"next": "http://localhost:4711", "cliVersion": "2"})
    assert response.status_code == 302
    location = response.headers["location"]
    assert location.startswith("http://localhost:4711/?error=this+server+has+no+login+in+a+browser+")
    assert "E2B_API_KEY" in location


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://localhost",
        "https://localhost:1",
        "http://example.org:1",
        "http://localhost:1@example.org:2",
        "http://localhost.example.org:1",
        "http://localhost:99999",
        "//localhost:1",
        "http://[::1",
        "javascript:alert(1)",
    ],
)
def test_nobody_is_sent_elsewhere(untouched: Served, url: str) -> None:
    with untouched.connect("") as browser:
        response = browser.get("/docs/api/cli", params={"next": url, "error": "<script>"})
    check_error(response, 501, "this server has no login in a browser")
    assert "<script>" not in response.text
    assert response.headers["content-type"] == "application/json"
