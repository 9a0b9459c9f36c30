import pytest

from berm.agent.errors import AgentError
from berm.agent.paths import resolve
from berm.agent.users import User

SOMEONE = User("someone", 1, 1, "/home/some", ())


@pytest.mark.parametrize(
    ("path", "resolved"),
    [
        ("", "/work"),
        ("~", "/home/some"),
        ("~/x", "/home/some/x"),
        ("~/../x", "/home/x"),
        ("x", "/home/some/x"),
        ("./x/", "/home/some/x"),
        ("../../../..", "/"),
        ("/a//b/../c", "/a/c"),
        ("//a", "/a"),
        ("a~b", "/home/some/a~b"),
    ],
)
def test_resolve(path: str, resolved: str) -> None:
    assert resolve(path, SOMEONE, "/work") == resolved


def test_no_working_directory_is_home() -> None:
    assert resolve("", SOMEONE) == "/home/some"


@pytest.mark.parametrize("path", ["~other", "~other/x", "~~", "a\0"])
def test_refused(path: str) -> None:
    with pytest.raises(AgentError):
        resolve(path, SOMEONE)
