"""The E2B requests about API keys."""

from berm.api.requests.common import Body, Name


class KeyName(Body):
    name: Name
