"""The E2B requests about secrets. Values are hidden in what is printed of them."""

from typing import Annotated

from pydantic import Field

from berm.api.requests.common import Body, Text
from berm.control.secrets import Content


class SecretUpdate(Body):
    value: Annotated[Text, Field(repr=False)]
    metadata: dict[Text, Text] | None = None

    def content(self) -> Content:
        return Content(self.value, self.metadata)


class NewSecret(SecretUpdate):
    name: str
