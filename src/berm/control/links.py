"""Signed links to files that name no sandbox, as the SDKs make them when one address serves all sandboxes."""

import base64
import hashlib
import hmac
import re
from collections.abc import Collection, Mapping
from typing import Final

from berm import ids

_OPERATIONS: Final = {"GET": "read", "HEAD": "read", "POST": "write"}
_SIGNATURE: Final = re.compile("v1_[A-Za-z0-9+/]{43}")
_TIME: Final = re.compile("[0-9]{1,18}")
"""Longer ones are refused by the agent."""

_LONGEST_PATH: Final = 4096
"""Bytes; Linux knows no longer ones."""


class Links:
    """Knows the tokens of live sandboxes; the signature of a link tells whose made it."""

    def __init__(self) -> None:
        self._tokens: dict[str, str | None] = {}

    def add(self, sandbox_id: str, token: str | None) -> None:
        """Note a sandbox's token; one without a token takes no links."""
        self._tokens[sandbox_id] = token

    def forget(self, sandbox_id: str) -> None:
        """For a sandbox that is over."""
        self._tokens.pop(sandbox_id, None)

    def takes(self, sandbox_id: str, given: str) -> bool:
        """Whether the agent of a known sandbox takes a token: its own, or any where it has none."""
        token = self._tokens.get(sandbox_id, "")
        return token is None or (token != "" and ids.same_secret(given, token))

    def signer(self, method: str, query: Mapping[str, str], running: Collection[str]) -> str | None:
        """The running sandbox whose token signed a /files link; the agent says whether it is over.

        Everybody may ask, and all tokens are tried: what is long is hashed once for all of them.
        """
        given, end = _digest(query.get("signature", "")), _end(query.get("signature_expiration", ""))
        beginning = _beginning(query, _OPERATIONS.get(method, ""))
        if given is None or end is None or beginning is None:
            return None
        tokens = ((name, token) for name, token in self._tokens.items() if token and name in running)
        for name, token in tokens:
            signed = beginning.copy()
            signed.update(token.encode() + end)
            if hmac.compare_digest(given, signed.digest()):
                return name
        return None


def _digest(signature: str) -> bytes | None:
    """What the SDKs make of a SHA-256: unpadded base64; None if it is nothing such."""
    if not _SIGNATURE.fullmatch(signature):
        return None
    digest = base64.b64decode(signature[3:] + "=")
    # Two bits of the last character say nothing; the SDKs leave them empty.
    return digest if base64.b64encode(digest).decode() == signature[3:] + "=" else None


def _beginning(query: Mapping[str, str], operation: str) -> "hashlib._Hash | None":
    """The hash of what comes before the token; None if no path is that long."""
    path, user = (_bytes(query.get(name, "")) for name in ("path", "username"))
    if len(path) > _LONGEST_PATH:
        return None
    return hashlib.sha256(b":".join((path, operation.encode(), user, b"")))


def _end(expiration: str) -> bytes | None:
    """What comes behind the token; None if that is no time."""
    if not expiration:
        return b""
    return b":" + _bytes(expiration) if _TIME.fullmatch(expiration) else None


def _bytes(field: str) -> bytes:
    return field.encode("utf-8", "surrogateescape")
