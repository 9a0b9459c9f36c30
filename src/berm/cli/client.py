"""A small client of the control plane: path segments in, JSON out, every failure a BermError."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from berm.errors import BermError, Code

JSON = dict[str, Any]
"""A JSON object of the wire; its shape is the one of the call it belongs to."""

_CODES = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    409: Code.CONFLICT,
    413: Code.TOO_LARGE,
    422: Code.INVALID_ARGUMENT,
    429: Code.RATE_LIMITED,
    501: Code.NOT_OFFERED,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.TIMED_OUT,
    507: Code.NO_SPACE,
}

_KEY_HINT = "set BERM_API_KEY to a key of this server; `berm env` prints this machine's"
_ADMIN_HINT = "set BERM_ADMIN_TOKEN to what is in the file admin-token of the server's state directory"

_LONG = httpx.Timeout(60, read=600)
"""For answers that the server has to prepare."""

_BODY_LIMIT = 64 * 1024
"""How much of an error's body is read, in bytes."""


def parsed(body: bytes) -> JSON | None:
    """A JSON object; None if it is anything else. What sandboxes send is nested as deeply as they like."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def status_error(response: httpx.Response) -> BermError:
    """The error that a response with a failure status stands for; its body must have been read."""
    message = (parsed(response.content) or {}).get("message")
    if not isinstance(message, str):
        message = f"{response.request.url} answered {response.status_code} {response.reason_phrase}"
    return BermError(_CODES.get(response.status_code, Code.INTERNAL), message)


def read_error(response: httpx.Response) -> BermError:
    """Like status_error, for a streamed response whose body has not been read."""
    body = b""
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > _BODY_LIMIT:
            break
    return status_error(httpx.Response(response.status_code, content=body, request=response.request))


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn what httpx raises about the connection to `url` into a BermError."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise BermError(
            Code.UNAVAILABLE,
            f"no berm server at {url}: {error}",
            "start one with `berm up`, or name it with --url",
        ) from None
    except httpx.TimeoutException:
        raise BermError(Code.TIMED_OUT, f"{url} did not answer in time") from None
    except httpx.InvalidURL as error:
        raise BermError(Code.INVALID_ARGUMENT, f"{url!r} is not a URL: {error}") from None
    except httpx.UnsupportedProtocol:
        raise BermError(Code.INVALID_ARGUMENT, f"{url!r} is not an http or https URL") from None
    except httpx.TransportError as error:
        raise BermError(
            Code.UNAVAILABLE,
            f"the connection to {url} broke: {error}",
            "was the sandbox or the server ended?",
        ) from None


class Session:
    """Connections to one server, with these headers in every request, for the time of a `with`."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self.url = url
        self._http = httpx.Client(headers=headers, timeout=60, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()


class Client(Session):
    """One server's control plane."""

    def __init__(self, url: str, key: str = "", admin_token: str = "") -> None:
        """With an API key, or with the admin token for the calls that want it."""
        super().__init__(url, {"X-Admin-Token": admin_token} if admin_token else {"X-API-Key": key})
        self._hint = _ADMIN_HINT if admin_token else _KEY_HINT

    def _request(
        self,
        method: str,
        path: Sequence[str],
        body: JSON | None = None,
        query: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        with translated(self.url):
            response = self._http.request(method, self._address(path), json=body, params=query)
        if response.is_error:
            raise self._error(response)
        return response

    def _address(self, path: Sequence[str]) -> str:
        return "/".join((self.url, *(quote(segment, safe="") for segment in path)))

    def _error(self, response: httpx.Response) -> BermError:
        error = status_error(response)
        if error.code is Code.UNAUTHENTICATED:
            error.hint = self._hint
        return error

    def get(self, *path: str, query: Mapping[str, str] | None = None) -> Any:
        return _json(self._request("GET", path, query=query))

    def post(self, *path: str, body: JSON) -> Any:
        """The answer's JSON; None if it has no body."""
        response = self._request("POST", path, body)
        return _json(response) if response.content else None

    def patch(self, *path: str, body: JSON) -> Any:
        return _json(self._request("PATCH", path, body))

    def delete(self, *path: str, body: JSON | None = None) -> None:
        self._request("DELETE", path, body)

    @contextmanager
    def download(self, *path: str, query: Mapping[str, str] | None = None) -> Iterator[httpx.Response]:
        """An answer that may be long, as a response to iterate over."""
        with (
            translated(self.url),
            self._http.stream("GET", self._address(path), params=query, timeout=_LONG) as response,
        ):
            if response.is_error:
                raise read_error(response)
            yield response

    def upload(self, url: str, body: Iterable[bytes], length: int, shown: Callable[[int], None]) -> None:
        """Send bytes to a link that authorises itself; our key is not for whom it leads to."""
        with translated(url):
            response = httpx.put(
                url,
                content=_counted(body, shown),
                headers={"Content-Length": str(length)},
                timeout=_LONG,
                trust_env=False,
            )
        if response.is_error:
            raise status_error(response)

    def pages(self, *path: str, query: Mapping[str, str] | None = None) -> Iterator[JSON]:
        """Every item of a paged list, asking for the next page when it is needed."""
        asked = dict(query or {})
        while True:
            response = self._request("GET", path, query=asked)
            yield from _json(response)
            token = response.headers.get("x-next-token", "")
            if not token:
                return
            asked["nextToken"] = token


def _counted(body: Iterable[bytes], shown: Callable[[int], None]) -> Iterator[bytes]:
    for piece in body:
        yield piece
        shown(len(piece))


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        raise BermError(
            Code.INTERNAL,
            f"{response.request.url} answered something that is not JSON",
            "is this a berm server?",
        ) from None
