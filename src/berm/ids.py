"""Identifiers and secrets: how they are made, what they look like, how secrets are compared."""

import hashlib
import hmac
import re
import secrets
import string
import uuid

_ALPHABET = string.ascii_lowercase + string.digits
_SANDBOX = re.compile(r"i[a-z0-9]{19}")


def _random(length: int) -> str:
    number = secrets.randbelow(len(_ALPHABET) ** length)
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)


def sandbox_id() -> str:
    """A new sandbox id: `i` and 19 lowercase letters or digits, safe as a DNS label."""
    return "i" + _random(19)


def is_sandbox_id(text: str) -> bool:
    return _SANDBOX.fullmatch(text) is not None


def template_id() -> str:
    """A new template id: 20 lowercase letters or digits."""
    return _random(20)


def volume_id() -> str:
    """A new volume id: 20 lowercase letters or digits."""
    return _random(20)


def build_id() -> str:
    """A new build id; the SDKs parse it as a UUID."""
    return str(uuid.uuid4())


def secret_id() -> str:
    """A new id of a secret; no name of one begins like it."""
    return "sec_" + _random(20)


def api_key() -> str:
    """A new API key in the form that every SDK accepts: `e2b_` and 40 hex digits."""
    return "e2b_" + secrets.token_hex(20)


def user_token() -> str:
    """A new access token in E2B's form: `sk_e2b_` and 40 hex digits."""
    return "sk_e2b_" + secrets.token_hex(20)


def admin_token() -> str:
    """A new token for who runs the server."""
    return secrets.token_hex(32)


def access_token() -> str:
    """A new token for one sandbox's agent."""
    return secrets.token_hex(32)


def traffic_token() -> str:
    """A new token for the ports of one sandbox."""
    return secrets.token_hex(32)


def volume_token() -> str:
    """A new token for the content of one volume."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """What is stored of a secret: its SHA-256 in hex. Keys are random, so no salt is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def same_secret(left: str, right: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(left.encode("utf-8", "surrogateescape"), right.encode())
