"""A token server on loopback, as registries have one, and what a docker-registry needs to trust it."""

import base64
import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlparse

import httpx

from tests.images.oci import LOGIN, Auth

_SERVICE, _ISSUER = "registry of the tests", "tests"


@dataclass(frozen=True)
class TokenServer:
    """LOGIN may do everything; who says nothing may pull what begins with `public/`."""

    directory: Path
    auth: dict[str, object] = field(default_factory=dict)
    """For the configuration of a docker-registry."""
    callers: list[str] = field(default_factory=list)
    """The user name, or nothing, of everybody who was given a token."""

    def token(self, user: str, scopes: Sequence[str]) -> str:
        self.callers.append(user)
        now = int(time.time())
        claims = {"iss": _ISSUER, "sub": user, "aud": _SERVICE, "iat": now, "nbf": now - 60, "exp": now + 300}
        access = [_access(scope) for scope in scopes if user or _is_public(scope)]
        return self._signed({**claims, "jti": str(time.time_ns()), "access": access})

    def pushing(self, name: str) -> Auth:
        """For who pushes a repository."""
        token = self.token(LOGIN[0], [f"repository:{name}:pull,push"])

        def auth(request: httpx.Request) -> httpx.Request:
            request.headers["Authorization"] = f"Bearer {token}"
            return request

        return auth

    def _signed(self, claims: object) -> str:
        certificate = "".join((self.directory / "cert.pem").read_text().splitlines()[1:-1])
        header = {"typ": "JWT", "alg": "RS256", "x5c": [certificate]}
        text = ".".join(_base64(json.dumps(part).encode()) for part in (header, claims))
        sign = ["openssl", "dgst", "-sha256", "-sign", str(self.directory / "key.pem")]
        signature = subprocess.run(sign, input=text.encode(), capture_output=True, check=True).stdout
        return f"{text}.{_base64(signature)}"


def _access(scope: str) -> dict[str, object]:
    kind, name, actions = scope.split(":")
    return {"type": kind, "name": name, "actions": actions.split(",")}


def _is_public(scope: str) -> bool:
    return scope.startswith("repository:public/") and scope.endswith(":pull")


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


@contextmanager
def token_server(directory: Path) -> Iterator[TokenServer]:
    directory.mkdir()
    tokens = TokenServer(directory)
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=tests", "-days", "2"]
    files = ["-keyout", str(directory / "key.pem"), "-out", str(directory / "cert.pem")]
    subprocess.run([*request, *files], check=True, capture_output=True)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = self.headers.get("Authorization", "").removeprefix("Basic ")
            user, _, password = base64.b64decode(said).decode().partition(":")
            if user and (user, password) != LOGIN:
                self.send_error(401)
                return
            scopes = parse_qs(urlparse(self.path).query).get("scope", [])
            body = json.dumps({"token": tokens.token(user, scopes)}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        tokens.auth["token"] = {
            "realm": f"http://127.0.0.1:{server.server_port}/token",
            "service": _SERVICE,
            "issuer": _ISSUER,
            "rootcertbundle": str(directory / "cert.pem"),
        }
        try:
            yield tokens
        finally:
            server.shutdown()
            thread.join()
