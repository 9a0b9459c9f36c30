"""The command line."""

import sys

# httpx imports a command line of its own, unless that fails, and it takes as long as all the rest of httpx.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type] # what makes an import fail
