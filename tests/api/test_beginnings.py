"""What the SDK makes of a template without asking a server: we read it, whatever it begins with."""

import pytest
from e2b import Template

from berm.api.requests.builds import StartBuild, steps_request
from berm.templates.dockerfile import parse

BEGINNINGS = {name for name in dir(Template()) if name.startswith("from_") and name.endswith("_image")}


@pytest.mark.parametrize("beginning", sorted(BEGINNINGS - {"from_image"}))
def test_an_image_that_has_a_method(beginning: str) -> None:
    template = getattr(Template(), beginning)().run_cmd("true")
    build = steps_request(StartBuild.model_validate_json(Template.to_json(template)))
    dockerfile, problems = parse(Template.to_dockerfile(template).encode())
    assert not problems
    assert [instruction.source for instruction in dockerfile.instructions] == [
        f"FROM {build.from_image}",
        "RUN true",
    ]
