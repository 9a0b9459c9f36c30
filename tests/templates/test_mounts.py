from collections.abc import Sequence

import pytest

from berm.templates.findings import InstructionError
from berm.templates.mounts import Around, mounts_of, source
from berm.templates.plan import Base, Mount

STAGE = Base("stage", "0")


def upload(sources: Sequence[str]) -> str:
    return "uploaded " + " ".join(sources)


def origin(text: str) -> Base:
    return {"build": STAGE, "0": STAGE}[text]


AROUND = Around("/work", lambda text: text.replace("$V", "value"), origin, upload)


def mounted(*flags: str) -> tuple[Mount, ...]:
    return mounts_of(flags, AROUND)


@pytest.mark.parametrize(
    ("flag", "mount"),
    [
        ("target=/x", Mount("bind", "/x", files_hash="uploaded .", read_only=True)),
        ("type=bind,dst=/x/", Mount("bind", "/x", files_hash="uploaded .", read_only=True)),
        ("type=BIND,Target=/x", Mount("bind", "/x", files_hash="uploaded .", read_only=True)),
        (
            "destination=x,src=a/./b",
            Mount("bind", "/work/x", "a/b", files_hash="uploaded a/b", read_only=True),
        ),
        ("target=.", Mount("bind", "/work", files_hash="uploaded .", read_only=True)),
        ("target=/x,source=/etc,from=build,ro", Mount("bind", "/x", "etc", STAGE, read_only=True)),
        ("from=0,target=/x", Mount("bind", "/x", base=STAGE, read_only=True)),
        ("target=/x,rw=false", Mount("bind", "/x", files_hash="uploaded .", read_only=True)),
        ("target=/x,rw", Mount("bind", "/x", files_hash="uploaded .")),
        ("target=/x,readwrite=true,from=build", Mount("bind", "/x", base=STAGE)),
        ("target=/x,ro=false", Mount("bind", "/x", files_hash="uploaded .")),
        ("target=/x,source=[id]", Mount("bind", "/x", "[id]", files_hash="uploaded [[]id]", read_only=True)),
        ('"target=/a,b"', Mount("bind", "/a,b", files_hash="uploaded .", read_only=True)),
        (
            "target=/$V,source=$V",
            Mount("bind", "/value", "value", files_hash="uploaded value", read_only=True),
        ),
        ("type=cache,target=/c", Mount("cache", "/c", id="/c")),
        ("type=cache,target=c/../d/", Mount("cache", "/work/d", id="/work/d")),
        ("type=cache,target=/c,id=n,sharing=locked", Mount("cache", "/c", id="n", sharing="locked")),
        ("type=cache,target=/c,sharing=Private", Mount("cache", "/c", id="/c", sharing="private")),
        (
            "type=cache,target=/c,mode=0700,uid=1000,gid=100,readonly",
            Mount("cache", "/c", id="/c", mode=0o700, uid=1000, gid=100, read_only=True),
        ),
        ("type=cache,target=/c,rw=false", Mount("cache", "/c", id="/c", read_only=True)),
        ("type=cache,target=/c,ro=false,rw", Mount("cache", "/c", id="/c")),
        ("type=tmpfs,target=/t", Mount("tmpfs", "/t", mode=0o1777)),
        ("type=tmpfs,target=/t,size=64m", Mount("tmpfs", "/t", mode=0o1777, size_mb=64)),
        ("type=tmpfs,target=/t,size=1GiB", Mount("tmpfs", "/t", mode=0o1777, size_mb=1024)),
        ("type=tmpfs,target=/t,size=1048577", Mount("tmpfs", "/t", mode=0o1777, size_mb=2)),
        ("type=tmpfs,target=/t,size=0", Mount("tmpfs", "/t", mode=0o1777)),
        ("type=secret,id=t", Mount("secret", "/run/secrets/t", id="t", mode=0o400)),
        ("type=secret,id=t,target=/x/y", Mount("secret", "/x/y", id="t", mode=0o400)),
        ("type=secret,target=/x/y", Mount("secret", "/x/y", id="y", mode=0o400)),
        ("type=secret,id=t,env=TOKEN", Mount("secret", "", id="t", env="TOKEN", mode=0o400)),
        ("type=secret,env=TOKEN", Mount("secret", "", id="TOKEN", env="TOKEN", mode=0o400)),
        ("type=secret,id=t,required", Mount("secret", "/run/secrets/t", id="t", required=True, mode=0o400)),
        (
            "type=secret,id=t,required=false,mode=440,uid=5,gid=6",
            Mount("secret", "/run/secrets/t", id="t", mode=0o440, uid=5, gid=6),
        ),
    ],
)
def test_a_flag_means_a_mount(flag: str, mount: Mount) -> None:
    assert mounted(flag) == (mount,)


def test_a_secret_can_be_a_file_and_a_variable() -> None:
    variable, file = mounted("type=secret,id=t,env=T,target=/t,required=true")
    assert (variable.env, variable.target, variable.required) == ("T", "", True)
    assert (file.env, file.target, file.required) == ("", "/t", True)


def test_outer_mounts_come_first_whatever_their_order() -> None:
    flags = [
        "type=tmpfs,target=/a/b/c",
        "type=cache,target=/a",
        "type=cache,target=/a/b",
        "type=tmpfs,target=/z",
    ]
    expected = ["/a", "/z", "/a/b", "/a/b/c"]
    assert [mount.target for mount in mounted(*flags)] == expected
    assert mounted(*flags) == mounted(*reversed(flags))


@pytest.mark.parametrize(
    ("flag", "message", "hint"),
    [
        ("type=ssh", "type=ssh is not supported", "type=secret"),
        ("type=chache,target=/x", "unknown type 'chache'", "did you mean cache?"),
        ("type=bind", "type=bind has no target", "target="),
        ("type=cache,id=x", "type=cache has no target", "target="),
        ("type=tmpfs", "type=tmpfs has no target", "target="),
        ("target=/", "has the target /", "below"),
        ("target=/x/..", "has the target /", "below"),
        ("target=/x,ro=perhaps", "'perhaps'", "true or false"),
        ("target=/x,source=../y", "leads out", "context"),
        ("type=cache,target=/x,from=build", "cannot begin with other files", "leave from out"),
        ("type=cache,target=/x,source=/y", "cannot begin with other files", "leave source out"),
        ("type=cache,target=/x,sharing=some", "sharing='some'", "locked"),
        ("type=cache,target=/x,mode=rwx", "'rwx'", "octal"),
        ("type=cache,target=/x,mode=u+x", "'u+x'", "octal"),
        ("type=cache,target=/x,uid=root", "uid='root'", "number"),
        ("type=cache,target=/x,gid=65536", "gid='65536'", "65535"),
        ("type=cache,target=/x,tarrget=/y", "no option 'tarrget'", "did you mean target?"),
        ("type=tmpfs,target=/x,size=lots", "size='lots'", "64m"),
        ("type=tmpfs,target=/x,size=65g", "size='65g'", "64g"),
        ("type=tmpfs,target=/x,size=-1", "size='-1'", "64m"),
        ("type=secret", "has no id", "id=NAME"),
        ("type=secret,id=a/b", "the id 'a/b'", "without '/'"),
        ("type=secret,id=x,env=A-B", "env='A-B'", "API_TOKEN"),
        ("type=secret,id=x,src=/f", "has no source here", "id=NAME"),
        ("target", "'target' without a value", "name=value"),
        ("", "no target", "target="),
    ],
)
def test_what_is_wrong_is_said(flag: str, message: str, hint: str) -> None:
    with pytest.raises(InstructionError) as error:
        mounted(flag)
    assert message in error.value.message
    assert hint in error.value.hint


def test_two_mounts_cannot_be_in_one_place() -> None:
    with pytest.raises(InstructionError, match="two mounts are at /a"):
        mounted("type=cache,target=/a", "type=tmpfs,target=/a/")


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("target=/x", None),
        ("target=/x,from=a", "a"),
        ("FROM=$A,target=/x", "$A"),
        ('"target=/a,from=b",from=c', "c"),
        ("", None),
    ],
)
def test_what_a_mount_is_from_can_be_seen_before_it_is_read(flag: str, expected: str | None) -> None:
    assert source(flag) == expected
