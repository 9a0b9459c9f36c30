"""Having the programs in a sandbox trust the host's certificate authority, next to those of its image."""

from collections import deque
from typing import Final

from berm.errors import BermError, Code
from berm.models import Endpoint
from berm.node.agentclient import Agents
from berm.node.interface import Command

SECONDS: Final = 10
"""How long a sandbox may take for it."""

_LAST: Final = 3
"""Lines that are kept of what the sandbox says about it, which has no end for all one knows."""

_DIRECTORY: Final = "/run/berm"
_OWN: Final = f"{_DIRECTORY}/ca.pem"
_BUNDLE: Final = f"{_DIRECTORY}/ca-bundle.pem"

NAMES: Final = {
    "SSL_CERT_FILE": _BUNDLE,
    "CURL_CA_BUNDLE": _BUNDLE,
    "REQUESTS_CA_BUNDLE": _BUNDLE,
    "GIT_SSL_CAINFO": _BUNDLE,
    "NODE_EXTRA_CA_CERTS": _OWN,
}
"""Variables of OpenSSL, curl, requests, git and Node; all but the last take the place of the image's own."""

_SCRIPT: Final = f"""
set -eu
umask 022
mkdir -p {_DIRECTORY}
printf %s "$1" > {_OWN}
for bundle in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
    [ ! -s "$bundle" ] || break
    bundle=
done
[ -n "$bundle" ] || bundle=$(python3 -m certifi 2> /dev/null || true)
cat ${{bundle:+"$bundle"}} {_OWN} > {_BUNDLE}.new
mv {_BUNDLE}.new {_BUNDLE}
"""


async def install(agents: Agents, endpoint: Endpoint, token: str, certificate: str) -> None:
    """Put the certificate, in PEM, where programs look for it that start from now on.

    Raises what `Agents.run` raises, and BermError INTERNAL if it does not go.
    """
    said = deque[str](maxlen=_LAST)
    command = Command(("/bin/sh", "-c", _SCRIPT, "sh", certificate), "root", "/", {})
    if await agents.run(endpoint, token, command, said.append):
        raise BermError(Code.INTERNAL, f"the certificate was not put in place: {' '.join(said)[:200]}")
    await agents.name(endpoint, token, NAMES)
