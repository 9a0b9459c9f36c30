from e2b.sandbox.signature import get_signature

from berm.agent.signatures import sign


def test_same_as_the_sdk() -> None:
    theirs = get_signature("/å b", "read", "user", "token")
    assert sign("/å b", "read", "user", "token") == theirs["signature"]
    theirs = get_signature("/a", "write", None, "token", 1000)
    assert sign("/a", "write", "", "token", str(theirs["expiration"])) == theirs["signature"]
