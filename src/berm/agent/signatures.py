"""Signed /files URLs: who has one may read or write one path without the access token."""

import base64
import hashlib
import time
from collections.abc import Mapping

from berm.agent.errors import AgentError, Kind
from berm.agent.http import same_secret

_OPERATIONS = {"GET": "read", "HEAD": "read", "POST": "write"}
_MAX_DIGITS = 18


def sign(path: str, operation: str, username: str, token: str, expiration: str | None = None) -> str:
    """The signature of one operation on one path, `expiration` in unix seconds."""
    fields = [path, operation, username, token] + ([expiration] if expiration else [])
    digest = hashlib.sha256(":".join(fields).encode("utf-8", "surrogateescape")).digest()
    return "v1_" + base64.b64encode(digest).decode().rstrip("=")


def check(method: str, query: Mapping[str, str], token: str) -> None:
    """Raises AgentError unless `query` holds a signature that is right and not over."""
    if not (given := query.get("signature")):
        raise AgentError(Kind.UNAUTHENTICATED, "missing signature query parameter")
    expiration = query.get("signature_expiration")
    path, username = query.get("path", ""), query.get("username", "")
    if not same_secret(given, sign(path, _OPERATIONS.get(method, ""), username, token, expiration)):
        raise AgentError(Kind.UNAUTHENTICATED, "invalid signature")
    if expiration and not (expiration.isdecimal() and len(expiration) <= _MAX_DIGITS):
        raise AgentError(Kind.UNAUTHENTICATED, "invalid signature")
    if expiration and int(expiration) < time.time():
        raise AgentError(Kind.UNAUTHENTICATED, "signature is already expired")
