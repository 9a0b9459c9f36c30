"""How a build of the SDKs logs in to its image's registry, in each of E2B's forms."""

import pytest

from berm.api.requests.builds import StartBuild, steps_request
from berm.errors import BermError, Code
from berm.images.login import Login

KEY = '{"type": "service_account",\n "private_key": "-----BEGIN"}'


@pytest.mark.parametrize(
    ("form", "login"),
    [
        ({"type": "registry", "username": "me", "password": "p:w"}, Login("me", "p:w")),
        ({"type": "gcp", "serviceAccountJson": KEY}, Login("_json_key", KEY)),
        (None, None),
    ],
)
def test_a_login_is_a_name_and_a_password(form: dict[str, str] | None, login: Login | None) -> None:
    body = StartBuild.model_validate({"fromImage": "app", "fromImageRegistry": form})
    request = steps_request(body)
    assert request.login == login
    assert not login or login.password not in repr(request)


@pytest.mark.parametrize(
    ("form", "code"),
    [
        (
            {"type": "aws", "awsAccessKeyId": "a", "awsSecretAccessKey": "b", "awsRegion": "c"},
            Code.NOT_OFFERED,
        ),
        ({"type": "registry", "username": "a:b", "password": "p"}, Code.INVALID_ARGUMENT),
    ],
)
def test_a_login_that_cannot_be_used(form: dict[str, str], code: Code) -> None:
    body = StartBuild.model_validate({"fromImageRegistry": form})
    with pytest.raises(BermError) as caught:
        steps_request(body)
    assert caught.value.code is code
    assert caught.value.hint
