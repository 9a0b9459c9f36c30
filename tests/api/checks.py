"""What every error answer must look like."""

import httpx


def check_error(response: httpx.Response, status: int, message: str) -> None:
    """The SDKs fail on an error whose body has no integer `code` or no `message`."""
    assert response.status_code == status, response.text
    body = response.json()
    assert body["code"] == status
    assert message in body["message"]
