"""Identities of sandboxes: short-lived tokens (JWT-SVID) that say which one a request comes from."""

import hashlib
import json
import time
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt.algorithms import ECAlgorithm

from berm import private
from berm.config import Config
from berm.errors import BermError, Code

SECONDS: Final = 300
"""How long a token holds; each request gets a new one."""

ALGORITHM: Final = "ES256"


class Identities:
    """The issuer of tokens. Its key is in this process and in a file, and in no sandbox."""

    def __init__(self, config: Config) -> None:
        self.issuer = config.identity_issuer.rstrip("/") or config.public_url
        self._domain = config.public_domain.partition(":")[0]
        self._key: ec.EllipticCurvePrivateKey | None = None

    def start(self, key_file: Path) -> None:
        """Read the key, or make one. Raises BermError INVALID_ARGUMENT, PERMISSION_DENIED."""
        try:
            self._key = _read(key_file) if key_file.exists() else _make(key_file)
        except OSError as error:
            raise BermError(Code.PERMISSION_DENIED, f"cannot use {key_file}: {error.strerror}") from None

    def token(self, team_id: str, sandbox_id: str, audience: str) -> str:
        """A token for a request of a sandbox's to `audience`."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": f"spiffe://{self._domain}/team/{team_id}/sandbox/{sandbox_id}",
            "aud": [audience],
            "iat": now,
            "exp": now + SECONDS,
            "jti": str(uuid.uuid4()),
            "team_id": team_id,
            "sandbox_id": sandbox_id,
        }
        return jwt.encode(claims, self._ready(), ALGORITHM, {"kid": self._public()["kid"]})

    def keys(self) -> dict[str, Any]:
        """A JWK set (RFC 7517): what tokens are checked with."""
        return {"keys": [self._public()]}

    def _public(self) -> dict[str, Any]:
        public = ECAlgorithm.to_jwk(self._ready().public_key(), as_dict=True)
        return {**public, "kid": _thumbprint(public), "use": "sig", "alg": ALGORITHM}

    def _ready(self) -> ec.EllipticCurvePrivateKey:
        if self._key is None:
            raise BermError(Code.INTERNAL, "the key of identities has not been read")
        return self._key


def _thumbprint(public: dict[str, Any]) -> str:
    """RFC 7638."""
    needed = {name: public[name] for name in ("crv", "kty", "x", "y")}
    digest = hashlib.sha256(json.dumps(needed, separators=(",", ":"), sort_keys=True).encode()).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def _read(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except ValueError:
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BermError(
            Code.INVALID_ARGUMENT, f"{path} does not hold a key", "put it back, or remove it for a new one"
        )
    return key


def _make(path: Path) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    private.write(path, text.strip())
    return key
