"""What is known to be otherwise than E2B's, each with how or why; nothing else may be."""

from berm.api.later import CALLS, NOT_YET
from tests.conformance.interface import read

DIFFERS: dict[str, str] = {}
"""Calls that are answered otherwise than the published interface says, and how."""

_FROZEN = "is not offered: the kernel freezes a sandbox from outside, and the agent takes no part in it"

NOT_OFFERED: dict[str, str] = {
    "POST /init": "is not offered: the settings of a sandbox come with its start, from nobody but berm",
    "POST /freeze": _FROZEN,
    "POST /unfreeze": _FROZEN,
    "POST /fsfreeze": _FROZEN,
    "POST /fsthaw": _FROZEN,
    "POST /collapse": "is not offered: it is about the memory of a virtual machine, and a sandbox is none",
}
"""Calls that are not offered beside those of `berm.api.later`, and why."""

if any(call[:2] == ("POST", "/volumes") for call in CALLS):
    NOT_OFFERED |= {operation.name: NOT_YET for operation in read("volumecontent").operations}

STEPS_DIFFER: dict[str, str] = {}
"""Methods of clients that behave otherwise, and how."""
