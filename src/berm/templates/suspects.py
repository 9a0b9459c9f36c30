"""What is probably a secret: by the name of a variable, by the form of a value, by the name of a file."""

import posixpath
import re
from typing import Final

TOKEN: Final = re.compile(
    r"\bAKIA[0-9A-Z]{16}\b"
    r"|\bgh[pousr]_[A-Za-z0-9]{36,}|\bgithub_pat_[A-Za-z0-9_]{22,}|\bglpat-[A-Za-z0-9_-]{20,}"
    r"|\bxox[abeprs]-[A-Za-z0-9-]{10,}|\bsk-[A-Za-z0-9_-]{20,}|\bnpm_[A-Za-z0-9]{36}|\bpypi-[A-Za-z0-9_-]{40,}"
    r"|\be2b_[0-9a-f]{40}|\bAIza[0-9A-Za-z_-]{35}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
"""Forms that their issuers gave to tokens and keys, so that they can be found."""

_WORDS: Final = frozenset(
    "PASSWORD PASSWD PASSPHRASE PASS SECRET SECRETS TOKEN APIKEY KEY CREDENTIAL CREDENTIALS AUTH".split()
)
_ANYWHERE: Final = frozenset("PASSWORD PASSWD PASSPHRASE SECRET".split())
"""Those that make a name suspicious wherever they stand in it."""
_HARMLESS: Final = frozenset("PUBLIC PUB GPG PGP CACHE SIGNING FINGERPRINT".split())
_HARMLESS_ENDS: Final = frozenset("FILE PATH DIR URL URI HOST NAME ID TTL EXPIRY LENGTH TYPE".split())

_FILES: Final = frozenset(
    "id_rsa id_dsa id_ecdsa id_ed25519 .env .netrc .pypirc .git-credentials .dockercfg .htpasswd".split()
)
_PLACES = re.compile(r"(?:^|/)(?:\.aws/credentials|\.docker/config\.json|\.kube/config|\.ssh/id_[^/]*)$")
_KEYS: Final = (".key", ".p12", ".pfx", ".keystore", ".jks")
_SAMPLES = re.compile(r"example|sample|template|dist|test|\.pub$", re.IGNORECASE)
_NPM_TOKEN = re.compile(rb"^[^#;\n]*(?:_authToken|_auth|_password)\s*=\s*(?!\$\{)\S", re.MULTILINE)


def is_secret_name(name: str) -> bool:
    """Whether a variable with this name holds a secret: API_TOKEN does, TOKEN_FILE and GPG_KEY do not."""
    words = [word for word in re.split(r"[^A-Z0-9]+", _snake(name).upper()) if word]
    if not words or words[-1] in _HARMLESS_ENDS or _HARMLESS & set(words):
        return False
    return words[-1] in _WORDS or bool(_ANYWHERE & set(words))


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)


def is_secret(name: str, value: str) -> bool:
    """Whether a value is one: by its form, or by its name if it could be one at all."""
    if TOKEN.search(value):
        return True
    plain = value.strip("\"'")
    return is_secret_name(name) and bool(plain) and not _is_harmless(plain)


def _is_harmless(value: str) -> bool:
    """A switch, a small number or a path."""
    return bool(re.fullmatch(r"true|false|yes|no|none|null|\d{1,3}|\.{0,2}/\S*", value, re.IGNORECASE))


def is_secret_file(path: str) -> bool:
    """Whether a file with this name holds a secret; .npmrc depends on its content."""
    name = posixpath.basename(path)
    if _SAMPLES.search(name):
        return False
    named = name in _FILES or name.startswith(".env.") or name.endswith(_KEYS)
    return named or _PLACES.search(path) is not None


def has_npm_token(content: bytes) -> bool:
    """Whether an .npmrc has a token in it, and not the name of a variable."""
    return _NPM_TOKEN.search(content) is not None
