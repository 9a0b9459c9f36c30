"""The E2B requests about templates and their tags."""

from typing import Annotated

from pydantic import Field

from berm.api.requests.common import Body, Text
from berm.errors import BermError, Code
from berm.models import Resources
from berm.templates.versions import LONGEST

_DEFAULT = Resources()

TemplateName = Annotated[Text, Field(max_length=LONGEST)]
Tags = Annotated[list[Annotated[Text, Field(max_length=LONGEST)]], Field(max_length=100)]
CpuCount = Annotated[int, Field(ge=1, le=256)]
MemoryMb = Annotated[int, Field(ge=128, le=1 << 20)]
DiskMb = Annotated[int, Field(ge=64, le=1 << 24)]
FreeDiskMb = Annotated[int, Field(ge=0, le=1 << 24)]


class Sizes(Body):
    """What sandboxes of a template get; `diskMB` is ours. E2B's newer clients ask for free disk instead."""

    cpu_count: CpuCount | None = None
    memory_mb: Annotated[MemoryMb | None, Field(alias="memoryMB")] = None
    disk_mb: Annotated[DiskMb | None, Field(alias="diskMB")] = None
    min_free_disk_mb: FreeDiskMb | None = None

    def resources(self) -> Resources:
        # All that a sandbox may write is free at its start: its disk does not hold the template.
        disk_mb = self.disk_mb or max(_DEFAULT.disk_mb, self.min_free_disk_mb or 0)
        return Resources(self.cpu_count or _DEFAULT.cpu_count, self.memory_mb or _DEFAULT.memory_mb, disk_mb)


class NewTemplate(Sizes):
    """POST /v3/templates; `commit` and `actor` are ours."""

    name: TemplateName = ""
    alias: TemplateName = ""
    tags: Tags = Field(default_factory=list)
    commit: Annotated[Text, Field(max_length=256)] = ""
    actor: Annotated[Text, Field(max_length=256)] = ""

    def reference(self) -> str:
        """Raises BermError INVALID_ARGUMENT if there is no name."""
        if not (self.name or self.alias):
            raise BermError(Code.INVALID_ARGUMENT, "name is missing", 'send it like {"name": "my-template"}')
        return self.name or self.alias


class UpdateTemplate(Body):
    public: bool | None = None


class AssignTags(Body):
    """POST /templates/tags; `target` is name:tag."""

    target: Text
    tags: Tags


class DeleteTags(Body):
    name: Text
    tags: Tags


class Rollback(Body):
    """POST /berm/templates/{template}/rollback: of `latest`, and one back, unless it says otherwise."""

    tag: Text = ""
    to: Annotated[int, Field(ge=1)] | None = None
