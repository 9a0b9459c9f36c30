"""Values that are unreadable without a key: AES-256-GCM."""

import hashlib
import os
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from berm import private
from berm.errors import BermError, Code

_KEY: Final = 32
_NONCE: Final = 12
"""Bytes. A nonce is random, which holds for 2**32 values under one key (NIST SP 800-38D)."""


class Seal:
    """Opens what it has sealed, in the same place only: a value that was moved to another does not open."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self.name = hashlib.sha256(b"berm seal " + key).hexdigest()[:16]
        """Tells keys apart, and nothing about them."""

    def close(self, value: str, *place: str) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, value.encode(), _bound(place))

    def open(self, sealed: bytes, *place: str) -> str:
        """Raises BermError INTERNAL if that was not sealed here with this key."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], _bound(place)).decode()
        except (InvalidTag, ValueError):
            raise BermError(Code.INTERNAL, "a sealed value is not what was put there") from None


class WrongKeyError(BermError):
    """A file that is no key, or not the right one. What is in it is never told."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.INVALID_ARGUMENT, message, "put the right file back")


def read(path: Path) -> Seal:
    """The key in a file. Raises WrongKeyError."""
    try:
        key = b64decode(path.read_text("ascii").strip(), validate=True)
    except OSError as error:
        raise WrongKeyError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:  # binascii's and the decoder's are kinds of it
        key = b""
    if len(key) != _KEY:
        raise WrongKeyError(f"{path} does not hold a key")
    return Seal(key)


def make(path: Path) -> Seal:
    """Write a new key. Raises BermError PERMISSION_DENIED."""
    key = os.urandom(_KEY)
    try:
        private.write(path, b64encode(key).decode())
    except OSError as error:
        raise BermError(Code.PERMISSION_DENIED, f"cannot write {path}: {error.strerror}") from None
    return Seal(key)


def _bound(place: tuple[str, ...]) -> bytes:
    """Two places never give the same bytes."""
    return b"".join(len(part.encode()).to_bytes(4) + part.encode() for part in place)
