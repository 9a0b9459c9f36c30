import pytest

from berm.templates import versions


@pytest.mark.parametrize("tag", ["latest", "v1.4.2", "1", "a_b-c.d", "0-a", "x" * 128, "default"])
def test_tags(tag: str) -> None:
    assert versions.is_tag(tag)


@pytest.mark.parametrize(
    "tag", ["", "Latest", "-a", ".a", "_a", "a:b", "a/b", "a b", "a\n", "ü", "1.0+x", "x" * 129]
)
def test_what_is_no_tag(tag: str) -> None:
    assert not versions.is_tag(tag)


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("web", True),
        ("team/web", True),
        ("a/b/c", False),
        ("/web", False),
        ("web/", False),
        ("web:v1", False),
        ("Web", False),
        ("", False),
        ("x" * 129, False),
    ],
)
def test_names(name: str, right: bool) -> None:
    assert versions.is_name(name) == right


@pytest.mark.parametrize(
    "tag", ["1.2.3", "v1.2.3", "v0.0.0", "v10.20.30", "v1.0.0-rc.1", "1.0.0-0a.x-y-z", "1.0.0--"]
)
def test_semantic_versions(tag: str) -> None:
    assert versions.is_semver(tag)


@pytest.mark.parametrize(
    "tag",
    [
        "",
        "1",
        "1.2",
        "v1",
        "1.2.3.4",
        "01.2.3",
        "1.02.3",
        "1.2.3-",
        "1.2.3-01",
        "1.2.3-a..b",
        "vv1.2.3",
        "1.2.3\n",
    ],
)
def test_what_is_no_semantic_version(tag: str) -> None:
    assert not versions.is_semver(tag)


def test_moving_tags_are_tags_that_may_move() -> None:
    assert all(versions.is_tag(tag) and not versions.is_semver(tag) for tag in versions.MOVING)
