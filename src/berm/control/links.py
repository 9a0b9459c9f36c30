"""Signed links to files that name no sandbox, as the SDKs make them when one address serves all sandboxes."""

import base64
import hashlib
from collections.abc import Collection, Mapping
from typing import Final

from berm import ids

_OPERATIONS: Final = {"GET": "read", "HEAD": "read", "POST": "write"}


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
        """The running sandbox whose token signed a /files link; the agent says whether it is over."""
        given, operation = query.get("signature", ""), _OPERATIONS.get(method, "")
        tokens = ((name, token) for name, token in self._tokens.items() if token and name in running)
        for name, token in tokens:
            if ids.same_secret(given, _sign(query, operation, token)):
                return name
        return None


def _sign(query: Mapping[str, str], operation: str, token: str) -> str:
    """What the SDKs compute: unpadded base64 of SHA-256 over path, operation, user, token and expiration."""
    fields = [query.get("path", ""), operation, query.get("username", ""), token]
    if expiration := query.get("signature_expiration"):
        fields.append(expiration)
    digest = hashlib.sha256(":".join(fields).encode("utf-8", "surrogateescape")).digest()
    return "v1_" + base64.b64encode(digest).decode().rstrip("=")
