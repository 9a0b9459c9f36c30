"""Times as people write them in a Dockerfile and in e2b.toml."""

import re
from typing import Final

_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]{1,15}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})(ns|us|µs|ms|s|m|h)")


def seconds(text: str) -> float | None:
    """The seconds in a duration such as `30s`, `1m30s` or `1.5h`, or None if it is none. Go's notation."""
    found = list(_PART.finditer(text))
    if not found or "".join(part[0] for part in found) != text:
        return 0.0 if text == "0" else None
    return sum(float(part[1]) * _UNITS[part[2]] for part in found)
