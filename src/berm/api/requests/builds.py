"""The requests about template builds: E2B's, and ours, in which nothing unknown may be."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Base64Bytes, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from berm.api.requests.common import Body, Level, Name, Query, Text
from berm.api.requests.templates import Sizes, Tags, TemplateName
from berm.api.wire.common import Json
from berm.control.builds import StepsRequest
from berm.errors import BermError, Code
from berm.images.registry import Login
from berm.templates.checks import check
from berm.templates.decode import decode, refusal
from berm.templates.e2b import BuildStep
from berm.templates.plan import Plan

MAX_REFERENCES = 100
MAX_SECRETS = 100
MAX_SECRET = 512 * 1024
"""Bytes in one secret, as for other builders."""


class BuildLogQuery(Query):
    """GET /templates/{templateID}/builds/{buildID}/status; `wait`, in seconds, is ours."""

    logs_offset: Annotated[int, Field(ge=0, lt=2**31)] = 0
    limit: Annotated[int, Field(ge=0, le=100)] = 100
    level: Level = "debug"
    wait: Annotated[float, Field(ge=0, le=30)] = 0


class BuildLogsQuery(Query):
    """GET /templates/{templateID}/builds/{buildID}/logs. `cursor` is in milliseconds since 1970."""

    cursor: Annotated[int, Field(ge=0)] | None = None
    limit: Annotated[int, Field(ge=0, le=100)] = 100
    direction: Literal["forward", "backward"] = "forward"
    level: Level = "debug"
    source: Literal["temporary", "persistent"] | None = None
    """Without meaning: a build has one log."""

    def moment(self) -> datetime | None:
        """Raises BermError INVALID_ARGUMENT for a time that no calendar has."""
        try:
            return None if self.cursor is None else datetime.fromtimestamp(self.cursor / 1000, UTC)
        except (ValueError, OverflowError, OSError):
            raise refusal("cursor", self.cursor, "a time in milliseconds since 1970") from None


class Step(Body):
    type: Literal["COPY", "RUN", "ENV", "WORKDIR", "USER"]
    args: list[Text] | None = None
    files_hash: Text | None = None
    force: bool | None = None


class PasswordRegistry(Body):
    type: Literal["registry"]
    username: Text
    password: Text

    def login(self) -> Login:
        return Login(self.username, self.password)


class GoogleRegistry(Body):
    type: Literal["gcp"]
    service_account_json: Text

    def login(self) -> Login:
        """Google's registries take a service account's key as a password."""
        return Login("_json_key", self.service_account_json)


class AmazonRegistry(Body):
    type: Literal["aws"]

    def login(self) -> Login:
        """Raises BermError NOT_OFFERED: the password is had by a call to Amazon that berm does not make."""
        raise BermError(
            Code.NOT_OFFERED,
            "fromImageRegistry.type is 'aws', which is not offered",
            "give type registry, username AWS and as password what `aws ecr get-login-password` prints",
        )


Registry = Annotated[PasswordRegistry | GoogleRegistry | AmazonRegistry, Field(discriminator="type")]


class StartBuild(Body):
    """POST /v2/templates/{templateID}/builds/{buildID}."""

    from_image: Text | None = None
    from_template: Text | None = None
    from_image_registry: Registry | None = None
    force: bool | None = None
    steps: Annotated[list[Step], Field(max_length=1000)] | None = None
    start_cmd: Text | None = None
    ready_cmd: Text | None = None


def steps_request(body: StartBuild) -> StepsRequest:
    """Raises BermError INVALID_ARGUMENT, NOT_OFFERED for a registry that cannot be logged in to."""
    registry = body.from_image_registry
    return StepsRequest(
        steps=[_step(step) for step in body.steps or ()],
        from_image=body.from_image or "",
        from_template=body.from_template or "",
        login=registry.login() if registry else None,
        force=bool(body.force),
        start_cmd=body.start_cmd or "",
        ready_cmd=body.ready_cmd or "",
    )


def _step(step: Step) -> BuildStep:
    return BuildStep(step.type, tuple(step.args or ()), step.files_hash or "", bool(step.force))


class Strict(BaseModel):
    """A body of our own calls: what is not known is an error, as it would have been meant."""

    model_config = ConfigDict(strict=True, extra="forbid", alias_generator=to_camel)


class Auth(Strict):
    username: Text
    password: Text


class ResolveImages(Strict):
    """POST /berm/images."""

    references: Annotated[list[Annotated[Text, Field(max_length=512)]], Field(max_length=MAX_REFERENCES)]
    auth: Auth | None = None


class HasPlan(Strict):
    """A plan is decoded apart: its fields are those of the dataclasses."""

    plan: Json

    def checked(self) -> Plan:
        """Raises BermError INVALID_ARGUMENT."""
        plan = decode(Plan, self.plan, "plan")
        check(plan)
        return plan


class PreviewPlan(HasPlan, Sizes):
    """POST /berm/plan: which template it would make, and how its sandboxes would be."""

    model_config = ConfigDict(extra="forbid")

    name: TemplateName
    tags: Tags = Field(default_factory=list)


def _small(secret: bytes) -> bytes:
    if len(secret) > MAX_SECRET:
        raise ValueError(f"a secret has at most {MAX_SECRET} bytes")
    return secret


Secret = Annotated[Base64Bytes, AfterValidator(_small)]


class StartPlan(HasPlan):
    """POST /berm/templates/{templateID}/builds/{buildID}; `trial` builds, and keeps nothing of it."""

    secrets: Annotated[dict[Name, Secret], Field(max_length=MAX_SECRETS)] = {}
    trial: bool = False
    timeout: Annotated[float, Field(gt=0)] | None = None
    """Seconds that the build may take."""
