"""The answers that the gateway gives itself, as JSON or as a small page."""

import html
import json
from http import HTTPStatus

from starlette.types import Send

from berm.gateway.heads import Headers, response_head
from berm.gateway.hosts import Target

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body{{font:1.1em/1.5 system-ui,sans-serif;max-width:36em;margin:20vh auto}}</style></head>
<body><h1>{title}</h1><p>{message}</p>{hint}<p>{where}</p></body></html>
"""


_NOT_FOUND = "The sandbox was not found"
_TOKEN_HEADER = "e2b-traffic-access-token"  # noqa: S105 - a name


class RefusalError(Exception):
    """A request to a sandbox port that gets an answer from the gateway instead of the sandbox.

    `message` is what clients read; `hint` is for people, on the page only.
    """

    def __init__(
        self,
        status: int,
        message: str,
        target: Target | None = None,
        *,
        show_port: bool = False,
        hint: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.target = target
        self.show_port = show_port
        self.hint = hint

    def render(self, accept: str) -> tuple[Headers, bytes]:
        """Headers and body: HTML if the Accept header prefers it to JSON, else JSON."""
        if _quality(accept, "text/html") > _quality(accept, "application/json"):
            kind, body = b"text/html; charset=utf-8", self._page()
        else:
            kind, body = b"application/json", self._json()
        return [(b"content-type", kind), (b"content-length", b"%d" % len(body))], body

    async def send(self, accept: str, send: Send) -> None:
        headers, body = self.render(accept)
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def to_bytes(self) -> bytes:
        """The whole answer in JSON, as the last one on a connection."""
        headers, body = self.render(accept="")
        return response_head(self.status, [*headers, (b"connection", b"close")]) + body

    def _json(self) -> bytes:
        fields: dict[str, str | int] = {"message": self.message, "code": self.status}
        if self.target:
            fields["sandboxId"] = self.target.sandbox_id
        if self.target and self.show_port:
            fields["port"] = self.target.port
        return json.dumps(fields).encode()

    def _page(self) -> bytes:
        where = f"Sandbox {self.target.sandbox_id}, port {self.target.port}" if self.target else ""
        title = f"{self.status} {HTTPStatus(self.status).phrase}"
        hint = f"<p>{html.escape(self.hint)}</p>" if self.hint else ""
        return _PAGE.format(title=title, message=html.escape(self.message), hint=hint, where=where).encode()


def bad_request(message: str) -> RefusalError:
    return RefusalError(400, message)


def control_route(target: Target, path: str) -> RefusalError:
    return RefusalError(404, f"{path[:64]} is not open to clients of the sandbox", target)


def unknown_signer() -> RefusalError:
    return RefusalError(401, "invalid signature, or the sandbox that it is for is not running")


def no_traffic_token(target: Target) -> RefusalError:
    return RefusalError(
        403,
        f"The sandbox's ports are not public: the header {_TOKEN_HEADER} is missing",
        target,
        hint="Send the trafficAccessToken that creating the sandbox returned, which a browser cannot.",
    )


def wrong_traffic_token(target: Target) -> RefusalError:
    return RefusalError(
        403,
        f"The sandbox's ports are not public: the header {_TOKEN_HEADER} is wrong",
        target,
        hint="Send the trafficAccessToken that creating the sandbox returned.",
    )


def unsigned_link() -> RefusalError:
    return RefusalError(
        404,
        "a link to a file that is not signed names no sandbox: use the host name of the sandbox's port 49983",
    )


def sandbox_not_found(target: Target) -> RefusalError:
    return RefusalError(
        502, _NOT_FOUND, target, hint="It has ended, or there never was one: look at the id in the address."
    )


def paused(target: Target) -> RefusalError:
    """For one that requests do not wake; the SDKs know a sandbox that does not run by the message."""
    hint = "It is paused, and requests do not resume it: connect to it with an SDK or the command line."
    return RefusalError(502, _NOT_FOUND, target, hint=hint)


def changing(target: Target) -> RefusalError:
    """For one that is being paused or resumed right now."""
    return RefusalError(409, "The sandbox is changing its state", target, hint="Try again in a moment.")


def not_resumed(target: Target, reason: str) -> RefusalError:
    return RefusalError(502, f"The sandbox could not be resumed: {reason}", target)


def port_not_open(target: Target) -> RefusalError:
    return RefusalError(
        502,
        "The sandbox is running but port is not open",
        target,
        show_port=True,
        hint="Nothing listens on this port, or on the sandbox's loopback address only: bind to 0.0.0.0.",
    )


def no_tls(target: Target) -> RefusalError:
    message = "The sandbox does not speak TLS on a port that is among its httpsPorts"
    return RefusalError(502, message, target, show_port=True)


def invalid_response(target: Target) -> RefusalError:
    return RefusalError(502, "The sandbox sent an invalid HTTP response", target, show_port=True)


def not_a_sandbox() -> RefusalError:
    return RefusalError(404, "this address takes no WebSocket; the Host must name a port of a sandbox")


def _quality(accept: str, media_type: str) -> float:
    """How much an Accept header wants a media type, 0 to 1 (RFC 9110 12.5.1)."""
    weights = dict(_ranges(accept))
    general = f"{media_type.partition('/')[0]}/*"
    return next((weights[name] for name in (media_type, general, "*/*") if name in weights), 0.0)


def _ranges(accept: str) -> list[tuple[str, float]]:
    return [_range(item) for item in accept.lower().split(",")]


def _range(item: str) -> tuple[str, float]:
    name, *parameters = (part.strip() for part in item.split(";"))
    weight = next((p[2:] for p in parameters if p.startswith("q=")), "1")
    try:
        return name, float(weight)
    except ValueError:
        return name, 0.0
